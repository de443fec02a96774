"""Check a whole config: names, types, ranges, and settings that exclude each other. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nnrun.base.errors import describe, did_you_mean
from nnrun.base.paths import NAME_WORDS, is_plain_name
from nnrun.config.conflicts import natural_mode
from nnrun.config.ranges import Range, is_integer, is_number
from nnrun.config.rules import Rules
from nnrun.config.schema import (
    NAMED_SECTIONS,
    OPTIONAL_SECTIONS,
    TAKEN_BY_SOME,
    TARGET_SECTIONS,
    RunSettings,
)


@dataclass(frozen=True)
class Reference:
    """What the option file of a section with a `_target_` lists: parameters, whose values show their types.

    Of ours, `complete`, the parameters listed are all that the target takes. One of the user's own may leave some out,
    and then only a text where a number stands, or the other way round, is known to be wrong.
    """

    values: Mapping[str, Any]
    complete: bool


def check(tree: Mapping[str, Any], references: Mapping[str, Reference], rules: Rules) -> list[str]:
    """Return what is wrong with a resolved config, a line each; empty where nothing is.

    `references` gives what each section with a `_target_` is compared with.
    """
    problems = list(
        _check_fields(get_type_hints(RunSettings) | rules.task_sections, tree, "", _known_keys(tree, rules), rules)
    )
    wrong = {problem.split(" ", 1)[0] for problem in problems}
    for name in TARGET_SECTIONS:
        if name not in wrong:
            problems += _check_target_section(name, _at(tree, name), references.get(name), rules.ranges)
    for group in NAMED_SECTIONS:
        if "_target_" in (tree.get(group) or {}):
            problems.append(f"{group} has a _target_: begin your own option's file with '# @package {group}.NAME'")
            continue
        for name, section in (tree.get(group) or {}).items():
            if not is_plain_name(name):
                # An export's is a folder in the run directory.
                problems.append(f"{group}.{ascii(name)[:80]} cannot be called so; allowed: {NAME_WORDS}")
            problems += _check_target_section(
                f"{group}.{name}", section, references.get(f"{group}.{name}"), rules.ranges
            )
    named = {problem.split(" ", 1)[0] for problem in problems}
    for key, allowed in rules.ranges.items():
        value = _at(tree, key, default=allowed)
        is_given = value is not allowed and key not in named
        if is_given and _is_ranged(key, tree, references, rules) and not allowed.holds(value):
            problems.append(describe(key, value, allowed.allowed))
    task = rules.task_of(tree)
    if task is None or task.builds_section("data.dataset"):
        problems += _check_taken(tree)
    wrong = {problem.split(" ", 1)[0] for problem in problems}
    for conflict in rules.conflicts:
        values = [_at(tree, key) for key in conflict.keys]
        if wrong.isdisjoint(conflict.keys) and conflict.clashes(*values):
            problems.append(conflict.message.format(*values))
    return problems


def _is_ranged(key: str, tree: Mapping[str, Any], references: Mapping[str, Reference], rules: Rules) -> bool:
    """Return whether a range is meant for a key: a parameter of a class that is not ours may mean anything."""
    section = key.rpartition(".")[0]
    if section in (*rules.sections, ""):
        return True
    reference, target = references.get(section), str(_at(tree, section + "._target_"))
    return (
        reference is not None
        and reference.complete
        and target == reference.values.get("_target_")
        and target.startswith(("nnrun.", "torch."))
    )


def _check_taken(tree: Mapping[str, Any]) -> Iterator[str]:
    """Find settings of `data` that the chosen data set does not take; what the user's own class takes, build knows."""
    data, section = tree.get("data"), _at(tree, "data.dataset")
    if isinstance(data, Mapping) and isinstance(section, Mapping) and str(section.get("_target_")).startswith("nnrun."):
        yield from not_taken(data, section)


def not_taken(data: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """Return a message for each setting of `data` that is named and that the section `data.dataset` has no use for."""
    named = {key: data.get(key) for key, idle in TAKEN_BY_SOME.items() if data.get(key) not in (idle, None)}
    return [
        f"data.{key}={value} has no effect: data={data.get('name')} does not take it; leave it out"
        for key, value in named.items()
        if key not in section
    ]


def _at(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or `default` where there is none."""
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def _known_keys(tree: Mapping[str, Any], rules: Rules) -> list[str]:
    """Return every full key that a user may set here: our own, and those of the chosen options."""
    known = [field.name for field in fields(RunSettings)]
    for name, cls in rules.sections.items():
        known += [f"{name}.{field.name}" for field in fields(cls)]
    for name in TARGET_SECTIONS:
        section = _at(tree, name)
        known += [f"{name}.{key}" for key in section] if isinstance(section, Mapping) else []
    return known


def _check_fields(
    hints: Mapping[str, Any], values: Mapping[str, Any], prefix: str, known: Sequence[str], rules: Rules
) -> Iterator[str]:
    """Compare a mapping with the types of its fields: unknown, missing, wrong type; sections below too."""
    for key in values:
        if key not in hints:
            others = [name for name in known if name != prefix + str(key)]
            yield unknown_key(f"{prefix}{key}", others, [prefix + name for name in hints])
    missing = [key for key in hints if key not in values]
    if prefix and missing:
        name = prefix.removesuffix(".")
        base = "_base" if name == "data" else "default"
        yield f"{name} lacks {', '.join(missing)}; begin your own option's file with the line: defaults: [{base}]"
    elif missing:
        for key in missing:
            yield f"{key} is missing" + (f"; {key}=none turns it off" if key in OPTIONAL_SECTIONS else "")
    for key, hint in hints.items():
        if key in missing:
            continue
        full, value = prefix + key, values[key]
        section = next((c for c in rules.sections.values() if c is hint or c in get_args(hint)), None)
        if section and isinstance(value, Mapping):
            yield from _check_fields(get_type_hints(section), value, full + ".", known, rules)
        elif not _has_type(value, hint):
            allowed = rules.ranges[full].allowed if full in rules.ranges else _words(hint)
            yield describe(full, value, allowed)


def unknown_key(key: str, known: Sequence[str], here: Sequence[str]) -> str:
    """Return the message for a key that nothing reads: the nearest known ones, or those of its section."""
    hint = did_you_mean(key, known)
    there = f"there are {', '.join(sorted(here))}" if here else f"{key.rpartition('.')[0]} has none"
    return f"{key} is not a setting; {hint or there}"


def _has_type(value: Any, hint: Any) -> bool:
    """Return whether a plain value is of the type that a settings dataclass states."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_has_type(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin is list:
        return isinstance(value, list) and all(_has_type(item, args[0]) for item in value)
    if hint is int:
        return is_integer(value)
    return is_number(value) if hint is float else isinstance(value, origin or hint)


def _words(hint: Any) -> str:
    """Return a type in a user's words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_words(option) for option in args)
    if origin is Literal:
        return ", ".join(str(option) for option in args)
    if origin is list:
        return (
            f"a list of {_words(args[0])}".replace("of a ", "of ").replace("number", "numbers").replace("text", "texts")
        )
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}.get(
        hint, "a section with a _target_" if origin is dict or hint is dict else "a section"
    )


def _check_target_section(
    name: str, section: Any, reference: Reference | None, ranges: Mapping[str, Range]
) -> Iterator[str]:
    """Compare the parameters of a `_target_` with those that its option file lists."""
    if not isinstance(section, Mapping):
        if section is not None:
            yield describe(name, section, "a section with a _target_", "choose an option of the group instead")
        return
    if not isinstance(section.get("_target_"), str):
        chosen = name.partition(".")[0]
        yield f"{name} has no _target_: choose an option with {chosen}=..., or add the line to your own one's file"
        return
    if reference is None or section["_target_"] != reference.values.get("_target_"):
        return
    listed = reference.values
    for key, value in section.items():
        full = f"{name}.{key}"
        if key not in listed:
            others = [f"{name}.{other}" for other in listed if other != "_target_"]
            if reference.complete:
                yield unknown_key(full, others, others)
        elif not (_like if reference.complete else _alike)(value, listed[key]):
            is_out = reference.complete and full in ranges and not ranges[full].holds(value)
            yield describe(full, value, ranges[full].allowed if is_out else _words(type(listed[key])))


def _like(value: Any, default: Any) -> bool:
    """Return whether a value has the type that the default in the option file shows; null and `${...}` show none."""
    if default is None or isinstance(default, dict | list) or (isinstance(default, str) and "${" in default):
        return not isinstance(default, list) or isinstance(value, list) or is_integer(value)
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    return is_number(value) if isinstance(default, float) else is_integer(value)


def _alike(value: Any, default: Any) -> bool:
    """Return whether a value may stand where a user's own file has `default`: not a text for a number, say."""
    return (
        _like(value, default)
        or isinstance(value, dict | list | type(None))
        or (is_number(value) and is_number(default))
    )


def monitored(tree: Mapping[str, Any]) -> tuple[str, str]:
    """Return the metric that decides which weights are the best, by default the loss, and `min` or `max`."""
    section = tree.get("early_stopping")
    # Of a file, it may lack either.
    monitor, mode = "valid/loss", "auto"
    if isinstance(section, Mapping):
        monitor, mode = str(section.get("monitor", monitor)), str(section.get("mode", mode))
    return monitor, natural_mode(monitor) if mode == "auto" else mode
