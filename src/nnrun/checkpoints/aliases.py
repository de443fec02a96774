"""Classes that moved: their names in files of earlier versions, and their current names."""

from __future__ import annotations

from typing import Any

# Old and new beginnings of names. A class that moves gets a line; older lines that lead to it get its new name.
MOVED: dict[str, str] = {
    # Until 0.2.0 each group of options was a separate room.
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

# Until 0.3.0 the state of a callback was saved under the name of its class; other callbacks had no state.
CALLBACKS = {"EarlyStopping": "early_stopping"}


def current_name(target: str) -> str:
    """Return the current dotted name of a class."""
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
    """Return a tree of plain values in which each `_target_` has the current name of its class."""
    if isinstance(value, list):
        return [with_current_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: current_name(item) if key == "_target_" and isinstance(item, str) else with_current_names(item)
        for key, item in value.items()
    }
