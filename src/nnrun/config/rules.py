"""What a config is checked against besides its types: collected from every room, and handed to the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import Range


@dataclass(frozen=True)
class Rules:
    """What values may be, by full key, and which settings exclude each other."""

    ranges: Mapping[str, Range]
    conflicts: Sequence[Conflict]
