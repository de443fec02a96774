"""The sections of a report on a run's settings, its environment, and its notes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from nnrun.base.shown import Section, Shown, Table, Text
from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import GROUPS
from nnrun.config.schema import NAMED_SECTIONS, RUN_KEYS
from nnrun.config.yaml_files import value_of
from nnrun.tasks.report.read import LEFT_OUT, RunRead, resolved

# Filled in from the data.
_FROM_DATA = ("data.in_shape", "data.num_outputs", "data.num_classes", "data.facts")
_MARK = "differs"


def section_settings(run: RunRead) -> Section:
    """Return every setting, those that differ from the defaults of a plain `nnrun` first and marked."""
    differing, same = [], []
    for key, written in _leaves(run.config):
        known, default = default_of(key)
        value = resolved(written, run.config)
        # Other settings are those of an invocation, or of another task.
        is_of_run = key.partition(".")[0] in RUN_KEYS
        if known and is_default(key, value, default):
            same += [(key, _text(value), "")] if is_of_run else []
        elif is_of_run or value not in (None, [], {}):
            differing.append((key, _text(value), default if known else "none"))
    if not differing and not same:
        return Section("Configuration", [Text("", "The run has no config.yaml that can be read.")])
    shown: list[Shown] = []
    if differing:
        columns = ("setting", "value", "default")
        shown.append(Table("Settings that differ from the defaults", columns, differing))
    else:
        shown.append(Text("", "Every setting has its default."))
    rows = [(key, value, "") for key, value, _ in same]
    rows += [(key, value, _MARK) for key, value, _ in differing]
    rows.sort(key=_place)
    shown.append(Table("All settings", ("setting", "value", ""), rows))
    return Section("Configuration", shown)


def section_environment(run: RunRead) -> Section:
    """Return the machine, the versions and the state of the code."""
    found, rows = run.environment, list[tuple[str, str]]()
    for key in ("python", "platform", "cpu", "cpu_count", "memory_bytes", "device", "threads"):
        if (value := found.get(key)) is not None:
            is_bytes = key == "memory_bytes" and isinstance(value, int)
            rows.append(
                (key.removesuffix("_bytes").replace("_", " "), f"{value / 1e9:.0f} GB" if is_bytes else _text(value))
            )
    if found.get("git_commit"):
        dirty = " with uncommitted changes" if found.get("git_dirty") else ""
        rows.append(("git commit", f"{found['git_commit']}{dirty}"))
    rows += [(key, str(run.status[key])) for key in ("started", "ended") if run.status.get(key)]
    for record in run.status.get("resumed") or ():
        if isinstance(record, Mapping):
            rows.append(("resumed", f"{record.get('at')}, at step {record.get('step')}"))
    shown: list[Shown] = [Table("Machine", (), rows)] if rows else []
    versions = found.get("versions")
    if isinstance(versions, Mapping):
        shown.append(Table("Versions", (), [(str(name), str(value)) for name, value in versions.items() if value]))
    return Section("Environment", shown or [Text("", "The run has no environment.json that can be read.")])


def section_notes(run: RunRead) -> Section:
    """Return the notes and warnings that the run printed."""
    warnings = run.summary.get("warnings")
    found = [*map(str, warnings if isinstance(warnings, list) else ()), *run.notes]
    rows = [(note,) for note in dict.fromkeys(found)]
    rows += [(f"logger {name} failed: {why}",) for name, why in _failed_loggers(run)]
    shown: list[Shown] = [Table("", ("note",), rows)] if rows else [Text("", "The run printed no notes.")]
    return Section("Notes and warnings", [*shown, *([Text("", run.left_out)] if run.left_out else [])])


def _failed_loggers(run: RunRead) -> Iterator[tuple[str, str]]:
    found = run.status.get("failed_loggers")
    yield from ((str(name), str(why)) for name, why in found.items()) if isinstance(found, Mapping) else ()


@functools.cache
def _defaults() -> dict[str, str]:
    """Return the settings of a plain run by full key, as its YAML files have them, each class included."""
    catalogue = Catalogue()
    found = {key: setting.default for key, setting in catalogue.defaults.items() if not setting.is_section}
    for group, chosen in catalogue.groups.items():
        if target := catalogue.target(group, chosen.default):
            place = "data.dataset" if group == "data" else group
            found[f"{place}.{chosen.default}._target_" if group in NAMED_SECTIONS else f"{place}._target_"] = target
    return found


def default_of(key: str) -> tuple[bool, str]:
    """Return whether a plain run has a setting, and its default as written in YAML."""
    defaults = _defaults()
    if key in defaults:
        return True, defaults[key]
    # A group without a chosen option is an empty section, or null.
    return key in GROUPS or key in _FROM_DATA, "null"


def is_default(key: str, value: Any, default: str) -> bool:
    """Return whether a value is the default that YAML text states."""
    if (key in GROUPS and value in (None, {})) or key in _FROM_DATA or value == LEFT_OUT:
        return True
    return _text(value) == default or default.startswith("${") or bool(value_of(default) == value)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full key and the value of everything in a config that is not a section."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _place(row: tuple[str, str, str]) -> tuple[int, bool, str]:
    """Return where a setting is listed: by group, its class first."""
    group = row[0].partition(".")[0]
    return GROUPS.index(group) if group in GROUPS else len(GROUPS), not row[0].endswith("_target_"), row[0]


def _text(value: Any) -> str:
    """Return a value as YAML has it in one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
