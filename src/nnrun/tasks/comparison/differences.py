"""The settings in which runs differ, and settings as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.tasks.comparison.read_run import Run

TARGET = "_target_"
_MOST_CHARACTERS = 32
ABSENT = "-"


def differing_settings(runs: Sequence[Run], *, is_full: bool = False) -> list[str]:
    """Return the full keys of the settings in which runs differ, in the order of their configs.

    A setting that a run lacks differs only if the run's section is another one, such as that of another network: else
    the config is of a version of nnrun that did not have the setting. Settings that only some options have are listed
    if they differ among those, or were given on a command line; `is_full` lists all of them.
    """
    trees = [run.settings for run in runs if run.settings is not None]
    typed = {key for run in runs for key in run.typed}
    keys = dict.fromkeys(key for tree in trees for key in tree)
    values = {key: {_plain(tree[key]) for tree in trees if key in tree} for key in keys}
    return [key for key in keys if len(values[key]) > 1 or ((key in typed or is_full) and _is_of_some(key, trees))]


def differing_environment(runs: Sequence[Run]) -> list[str]:
    """Return the names of what differs in the environments of runs."""
    names = dict.fromkeys(name for run in runs for name in run.environment)
    return [name for name in names if len({run.environment.get(name) for run in runs if run.environment}) > 1]


def _is_of_some(key: str, trees: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether runs lack a setting because another option was chosen for its section."""
    without = [tree for tree in trees if key not in tree]
    having = next(tree for tree in trees if key in tree)
    if not without or "." not in key:
        return False
    sections = [key[:place] for place, letter in enumerate(key) if letter == "."]
    target = next((f"{name}.{TARGET}" for name in reversed(sections) if f"{name}.{TARGET}" in having), None)
    if target is not None and any(tree.get(target) != having[target] for tree in without):
        return True
    # A section that is none is a setting without a value.
    return any(section in tree for tree in without for section in sections)


def _plain(value: Any) -> str:
    """Return a value in a form that can be compared; a number has one, as an integer or not."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if value is None or isinstance(value, str | int | float):
        return repr(value)  # much faster, for nearly all settings
    return json.dumps(value, sort_keys=True, default=str)


def identity(run: Run, without: Sequence[str]) -> str | None:
    """Return a text that is equal for runs with the same settings, but for some settings and sections.

    None where the settings are unknown.
    """
    if run.settings is None:
        return None
    kept = {key: value for key, value in run.settings.items() if key.partition(".")[0] not in without}
    return _plain({key: _plain(value) for key, value in kept.items()})


def title_of(key: str) -> str:
    """Return a setting's title: the group, for the class that its option names."""
    return key.removesuffix(f".{TARGET}")


def value_text(run: Run, key: str) -> str:
    """Return the value of a setting of a run as text."""
    if run.settings is None or key not in run.settings:
        return ABSENT
    value = run.settings[key]
    if key.endswith(TARGET) and isinstance(value, str):
        return value.rpartition(".")[2]
    return shown(value)


def shown(value: Any) -> str:
    """Return the value of a setting as text, as it would be typed; a long list is cut between its items."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    text = json.dumps(value, default=str)
    if not isinstance(value, list | dict) or len(text) <= _MOST_CHARACTERS:
        return text
    cut = text[:_MOST_CHARACTERS].rpartition(",")[0]
    return f"{cut or text[0]}, ...{text[-1]}"
