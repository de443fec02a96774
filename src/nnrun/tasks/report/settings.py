"""The sections of a report on a run's settings, its environment, and its notes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from nnrun.base.shown import Section, Shown, Table, Text, time_text
from nnrun.config.auto import AUTO
from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import GROUPS
from nnrun.config.schema import NAMED_SECTIONS, RUN_KEYS
from nnrun.config.tree import value_at
from nnrun.config.yaml_files import value_of
from nnrun.tasks.report.read import LEFT_OUT, RunRead, mapping, resolved

# Filled in from the data.
_FROM_DATA = ("data.in_shape", "data.num_outputs", "data.num_classes", "data.facts")
_MARK = "differs"
NO_OPTION = "none"


def section_settings(run: RunRead) -> Section:
    """Return every setting, those that differ from the defaults of a plain `nnrun` first and marked.

    The settings of an option that a plain run does not choose are compared with those in the option's file.
    """
    if not run.config:
        return Section("Configuration", [Text("", "The run has no config.yaml that can be read.")])
    defaults, options = defaults_for(run.config)
    differing, rows = list[tuple[str, str, str]](options), list[tuple[str, str, str]]()
    for key, written in _leaves(run.config):
        value = resolved(written, run.config)
        # Other settings are those of an invocation, or of another task.
        is_of_run = key.partition(".")[0] in RUN_KEYS
        # A setting that refers to another follows it.
        if _is_reference(written) or is_default(key, value, defaults.get(key)):
            rows += [(key, _text(value), "")] if is_of_run else []
        elif is_of_run or value not in (None, [], {}):
            differing.append((key, _text(value), defaults.get(key, "none")))
            rows.append((key, _text(value), _MARK))
    shown: list[Shown] = []
    if differing:
        columns = ("setting", "value", "default")
        shown.append(Table("Settings that differ from the defaults", columns, differing))
    else:
        shown.append(Text("", "All settings have their defaults."))
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
    rows += [(key, time_text(run.status[key])) for key in ("started", "ended") if run.status.get(key)]
    for record in run.status.get("resumed") or ():
        if isinstance(record, Mapping):
            rows.append(("resumed", f"{time_text(record.get('at'))}, at step {record.get('step')}"))
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
    rows += [(f"this report is incomplete: {fault}",) for fault in run.faults]
    shown: list[Shown] = [Table("", ("note",), rows)] if rows else [Text("", "The run printed no notes.")]
    return Section("Notes and warnings", [*shown, *([Text("", run.left_out)] if run.left_out else [])])


def _failed_loggers(run: RunRead) -> Iterator[tuple[str, str]]:
    found = run.status.get("failed_loggers")
    yield from ((str(name), str(why)) for name, why in found.items()) if isinstance(found, Mapping) else ()


@functools.cache
def _catalogue() -> Catalogue:
    return Catalogue()


def defaults_for(config: Mapping[str, Any]) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return the defaults of a config's settings by full key, as their YAML files have them.

    Beside them, a row for each group whose option is not that of a plain run: the group, the option, and the plain one.
    """
    catalogue, rows = _catalogue(), list[tuple[str, str, str]]()
    found = {key: setting.default for key, setting in catalogue.defaults.items() if not setting.is_section}
    for group, chosen in catalogue.groups.items():
        plain = catalogue.becomes(group, chosen.default)
        if group in NAMED_SECTIONS:
            names = [str(name) for name in mapping(config.get(group))]
            options = [name for name in names if name in catalogue.options(group)]
            if names != ([] if plain in (NO_OPTION, AUTO) else [plain]):
                rows.append((group, ", ".join(names) or NO_OPTION, plain))
        else:
            place = f"{group}.dataset" if group == "data" else group
            target = value_at(config, f"{place}._target_")
            options = [_option_of(group, target, config, plain)] if isinstance(target, str) else []
            rows += [(group, option, plain) for option in options if option not in (plain, "")]
        for option in options:
            found |= {it.key: it.default for it in catalogue.settings(group, option) if not it.is_section}
            place = "data.dataset" if group == "data" else group
            key = f"{place}.{option}._target_" if group in NAMED_SECTIONS else f"{place}._target_"
            found[key] = catalogue.target(group, option)
    return found, rows


def _option_of(group: str, target: str, config: Mapping[str, Any], plain: str) -> str:
    """Return the option of a group that builds a class: the plain one, or one with the name of the data, if it does."""
    name = value_at(config, f"{group}.name")
    first = [option for option in (name, plain) if option in _catalogue().options(group)]
    candidates = [*first, *_catalogue().options(group)]
    return next((str(option) for option in candidates if _catalogue().target(group, option) == target), "")


def is_default(key: str, value: Any, default: str | None) -> bool:
    """Return whether a value is the default that YAML text states."""
    if key in _FROM_DATA or value == LEFT_OUT or (key in GROUPS and value in (None, {})):
        return True
    return default is not None and (_text(value) == default or _is_reference(default) or value_of(default) == value)


def _is_reference(value: object) -> bool:
    """Return whether a value is a reference to another setting."""
    return isinstance(value, str) and value.startswith("${") and value.endswith("}")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full key and the value of everything in a config that is not a section."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _place(row: tuple[str, str, str]) -> tuple[int, bool, str]:
    """Return where a setting is listed: by group, its class first."""
    key = row[0]
    group = key.partition(".")[0]
    return GROUPS.index(group) if group in GROUPS else len(GROUPS), not key.endswith("_target_"), key


def _text(value: Any) -> str:
    """Return a value as YAML has it in one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
