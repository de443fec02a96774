"""What is asked of a data set of texts, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from nnrun.base.targets import Targets
from nnrun.components.data.split_columns import KeySettings
from nnrun.core.keyed_splits import SplitKeys


@dataclass(frozen=True)
class Asked:
    """The columns and targets that the settings name; None, or `auto`, where they are to be found."""

    text: str | None
    target: str | Sequence[str] | None
    targets: str
    class_order: str
    on_bad: str
    keys: KeySettings = field(default_factory=KeySettings)


@dataclass(frozen=True)
class TextSamples:
    """The texts of each split, their targets, names and keys; and notes, and the column that the texts come from."""

    texts: dict[str, list[str]]
    targets: Targets
    values: dict[str, Tensor]
    names: dict[str, list[str]]
    notes: tuple[str, ...] = ()
    column: str | None = None
    keys: dict[str, SplitKeys] = field(default_factory=dict)
