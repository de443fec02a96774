"""The name of a run, from its config: the network and the data. Needs no torch."""

from __future__ import annotations

import re

from nnrun.config.auto import AUTO
from nnrun.config.composed import Composed


def name_of(composed: Composed) -> str:
    """Return the network and the data of a run, `cnn_digits`; for an exported network the name of its file.

    If the network depends on the data, which is not open yet, its name is `auto`.
    """
    if composed.artifact is not None:
        return composed.artifact.name
    tree = composed.resolved()
    section, data = tree["model"], str(tree["data"]["name"])
    if not section:  # the task builds none
        return data
    if composed.is_open("model"):
        return f"{AUTO}_{data}"
    target = str(section["_target_"])
    is_named = target.startswith("nnrun.") and isinstance(section.get("name"), str)
    model = last_part(section["name"]) if is_named else target.rpartition(".")[2].lower()
    return f"{model}_{data}"


def directory_name_of(composed: Composed) -> str:
    """Return the name of a run directory after its time: `cnn_digits`; with the task in front if it does not train."""
    return name_of(composed) if composed.task.trains else f"{composed.task.name}_{name_of(composed)}"


def last_part(name: str) -> str:
    """Return the last part of a network's name, which may be a path or a repository, for the name of a directory."""
    return re.sub(r"[^\w.-]+", "_", name.rstrip("/").rpartition("/")[2]) or "model"
