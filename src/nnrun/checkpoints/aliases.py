"""Names that moved: what a file of an earlier version calls a class, and where that class lies now."""

from __future__ import annotations

from typing import Any

# The beginning of a name as it was, and as it is. A class that moves gets a line; older lines get their new end.
MOVED: dict[str, str] = {
    # Until 0.2.0 each group of options was a room of its own.
    "nnrun.data.own.": "nnrun.components.data.map_style.",
    "nnrun.data.": "nnrun.components.data.",
    "nnrun.models.": "nnrun.components.models.",
    "nnrun.augment.": "nnrun.components.augment.",
    "nnrun.losses.": "nnrun.components.losses.",
    "nnrun.optimizers.": "nnrun.components.optimizers.",
    "nnrun.schedulers.": "nnrun.components.schedulers.",
    "nnrun.exporters.": "nnrun.components.exporters.",
    "nnrun.loggers.": "nnrun.components.loggers.",
}

# Until 0.3.0 the state of a callback was saved under the name of its class; the others' were empty.
CALLBACKS = {"EarlyStopping": "early_stopping"}


def current_name(target: str) -> str:
    """Return the dotted name of a class as it is today."""
    for before, now in MOVED.items():
        if target.startswith(before):
            return now + target.removeprefix(before)
    return target


def first_name(target: str) -> str:
    """Return the dotted name that a class had when files first named it, for hashes that must not change."""
    for before, now in MOVED.items():
        if target.startswith(now):
            return before + target.removeprefix(now)
    return target


def with_current_names(value: Any) -> Any:
    """Return a tree of plain values in which each `_target_` names its class as it is today."""
    if isinstance(value, list):
        return [with_current_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: current_name(item) if key == "_target_" and isinstance(item, str) else with_current_names(item)
        for key, item in value.items()
    }
