"""What options of the group `callback` may be called: the names of nnrun's own callbacks are taken. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import Range

RANGES: Mapping[str, Range] = {}
# The callbacks of every training, by the names under which checkpoints have their states.
OWN_NAMES = ("rows", "first_step", "early_stopping", "progress", "checkpointing")
CONFLICTS = (
    Conflict(
        ("callback",),
        lambda section: isinstance(section, Mapping) and not section.keys().isdisjoint(OWN_NAMES),
        f"a callback of your own cannot be called {', '.join(OWN_NAMES[:-1])} or {OWN_NAMES[-1]}: every training has "
        "those; give it another name",
    ),
)
