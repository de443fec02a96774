"""Allowed names in the group `callback`: those of nnrun's own callbacks are reserved. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import Range

RANGES: Mapping[str, Range] = {}
# The callbacks of every training, by the names under which checkpoints store their state. Later ones have a dot, which
# no option has: an older run may have a callback of any other name.
OWN_NAMES = ("rows", "first_step", "early_stopping", "progress", "checkpointing")
CONFLICTS = (
    Conflict(
        ("callback",),
        lambda section: isinstance(section, Mapping) and not section.keys().isdisjoint(OWN_NAMES),
        f"{', '.join(OWN_NAMES[:-1])} and {OWN_NAMES[-1]} are reserved names of nnrun's own callbacks; give your "
        "callback another name",
    ),
)
