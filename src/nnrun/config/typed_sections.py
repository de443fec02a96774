"""Compare the sections that nnrun owns with the dataclasses that type them: unknown keys, missing ones, wrong types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nnrun.base.errors import Complaint
from nnrun.config.meant import hint_for_key, hint_for_value
from nnrun.config.ranges import is_integer, is_number
from nnrun.config.rules import Rules
from nnrun.config.schema import OPTIONAL_SECTIONS, TARGET_SECTIONS, RunSettings
from nnrun.config.tree import value_at

# Types in a user's words, singular and plural.
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "a section with a _target_",
    type(None): "null",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "strings"}


def check_typed_sections(tree: Mapping[str, Any], rules: Rules) -> list[Complaint]:
    """Return complaints about a resolved config, except on values of the right type and the parameters of a `_target_`.

    For a value of a wrong type that has a range, the complaint states the range.
    """
    hints = get_type_hints(RunSettings) | rules.task_sections
    return list(_check_fields(hints, tree, "", _known_keys(tree, rules), rules))


def check_sections(sections: Mapping[str, Any], rules: Rules) -> list[Complaint]:
    """Return complaints about some sections that a dataclass types, by name."""
    hints = {name: rules.sections[name] for name in sections}
    return list(_check_fields(hints, sections, "", _known_keys(sections, rules), rules))


def _check_fields(
    hints: Mapping[str, Any], values: Mapping[str, Any], prefix: str, known: Sequence[str], rules: Rules
) -> Iterator[Complaint]:
    """Compare a mapping with the types of its fields, and the sections below it with theirs."""
    for key in values:
        if key not in hints:
            others = [name for name in known if name != prefix + str(key)]
            yield unknown_key(f"{prefix}{key}", others, [prefix + name for name in hints])
    missing = [key for key in hints if key not in values]
    if prefix and missing:
        name = prefix.removesuffix(".")
        base = "_base" if name == "data" else "default"
        text = f"{name} lacks {', '.join(missing)}; begin your own option's file with the line: defaults: [{base}]"
        yield Complaint(name, text)
    elif missing:
        for key in missing:
            yield Complaint(
                key, f"{key} is missing" + (f"; {key}=none turns it off" if key in OPTIONAL_SECTIONS else "")
            )
    for key, hint in hints.items():
        if key in missing:
            continue
        full, value = prefix + key, values[key]
        section = next((c for c in rules.sections.values() if c is hint or c in get_args(hint)), None)
        if section and isinstance(value, Mapping):
            yield from _check_fields(get_type_hints(section), value, full + ".", known, rules)
        elif not _has_type(value, hint):
            allowed = rules.ranges[full].allowed if full in rules.ranges else in_words(hint)
            yield Complaint.of(full, value, allowed, hint_for_value(full, value, _words(full, hint, rules)))


def _words(key: str, hint: Any, rules: Rules) -> Sequence[str]:
    """Return the words that a setting of ours takes, as far as they can be listed."""
    return rules.ranges[key].words if key in rules.ranges else words_in(hint)


def _known_keys(tree: Mapping[str, Any], rules: Rules) -> list[str]:
    """Return every full key that may be set here: our own, and those of the chosen options."""
    known = [*(field.name for field in fields(RunSettings)), *rules.task_sections]
    for name, cls in rules.sections.items():
        known += [f"{name}.{field.name}" for field in fields(cls)]
    for name in TARGET_SECTIONS:
        section = value_at(tree, name)
        known += [f"{name}.{key}" for key in section] if isinstance(section, Mapping) else []
    return known


def unknown_key(key: str, known: Sequence[str], here: Sequence[str]) -> Complaint:
    """Complain of an unknown key: suggest similar ones, or list those of its section."""
    hint = hint_for_key(key, known)
    there = f"available: {', '.join(sorted(here))}" if here else f"{key.rpartition('.')[0]} has none"
    # Without a similar name: first the existing keys, then the suggestion.
    said = hint if hint.startswith("did you mean") else "; ".join(filter(None, (there, hint)))
    return Complaint(key, f"{key} is not a setting; {said}")


def _has_type(value: Any, hint: Any) -> bool:
    """Return whether a plain value is of the type that a settings dataclass states."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_has_type(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin is list:
        return isinstance(value, list) and all(_has_type(item, args[0]) for item in value)
    if hint in (int, Any):
        return hint is Any or is_integer(value)
    return is_number(value) if hint is float else isinstance(value, origin or hint)


def in_words(hint: Any) -> str:
    """Return a type in a user's words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(in_words(option) for option in args)
    if origin is Literal:
        return ", ".join("false" if option is False else str(option) for option in args)
    if origin is list:
        return f"a list of {_PLURALS[args[0]]}"
    return _WORDS.get(origin or hint, "a section")


def words_in(hint: Any) -> list[str]:
    """Return the words that a type consists of, as YAML has them."""
    if get_origin(hint) in (Union, UnionType):
        return [word for option in get_args(hint) for word in words_in(option)]
    if get_origin(hint) is Literal:
        return ["false" if option is False else str(option) for option in get_args(hint)]
    return {bool: ["true", "false"], type(None): ["null"]}.get(hint, [])
