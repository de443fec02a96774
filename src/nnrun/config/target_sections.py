"""Compare the sections that have a `_target_` with the files of their options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nnrun.base.errors import Complaint
from nnrun.base.paths import NAME_WORDS, is_plain_name
from nnrun.config.ranges import Range, is_integer, is_number
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.config.tree import value_at
from nnrun.config.typed_sections import in_words, unknown_key


@dataclass(frozen=True)
class Reference:
    """The parameters in the option file of a section with a `_target_`, whose values show their types.

    Files of ours are `complete`: they list all parameters of the target. A user's file may omit some, and then only a
    string in place of a number, or the reverse, is known to be wrong.
    """

    values: Mapping[str, Any]
    complete: bool

    def takes(self, value: Any, key: str) -> bool:
        """Return whether a value has a type that `key` may have, judged by its value in the file."""
        default = self.values[key]
        if _like(value, default):
            return True
        if self.complete:
            return False
        return isinstance(value, dict | list | type(None)) or (is_number(value) and is_number(default))


References = Mapping[str, Reference]


def check_target_sections(
    tree: Mapping[str, Any], references: References, ranges: Mapping[str, Range]
) -> Iterator[Complaint]:
    """Yield complaints about the sections with a `_target_`, including those that hold several by name."""
    for name in TARGET_SECTIONS:
        yield from _check_section(name, value_at(tree, name), references.get(name), ranges)
    for group in NAMED_SECTIONS:
        sections = tree.get(group)
        if not isinstance(sections, Mapping):
            continue
        if "_target_" in sections:
            text = f"{group} has a _target_: begin your own option's file with '# @package {group}.NAME'"
            yield Complaint(group, text)
            continue
        for name, section in sections.items():
            full = f"{group}.{name}"
            if not is_plain_name(name):
                # An export's name is that of a folder in the run directory.
                yield Complaint(full, f"{group}.{ascii(name)[:80]} is not a valid name; allowed: {NAME_WORDS}")
            yield from _check_section(full, section, references.get(full), ranges)


def _check_section(
    name: str, section: Any, reference: Reference | None, ranges: Mapping[str, Range]
) -> Iterator[Complaint]:
    """Compare the parameters of a `_target_` with those that its option file lists."""
    if section is None:
        return
    if not isinstance(section, Mapping):
        yield Complaint.of(name, section, "a section with a _target_", "choose an option of the group instead")
    elif not isinstance(section.get("_target_"), str):
        chosen = name.partition(".")[0]
        text = f"{name} has no _target_: choose an option with {chosen}=..., or add the line to your option's file"
        yield Complaint(name, text)
    elif reference is not None and section["_target_"] == reference.values.get("_target_"):
        yield from _check_parameters(name, section, reference, ranges)


def _check_parameters(
    name: str, section: Mapping[str, Any], reference: Reference, ranges: Mapping[str, Range]
) -> Iterator[Complaint]:
    """Compare parameters with the reference: their names, where it is complete, and their types."""
    for key, value in section.items():
        full = f"{name}.{key}"
        if key not in reference.values:
            others = [f"{name}.{other}" for other in reference.values if other != "_target_"]
            if reference.complete:
                yield unknown_key(full, others, others)
        elif not reference.takes(value, key):
            is_out = reference.complete and full in ranges and not ranges[full].holds(value)
            yield Complaint.of(full, value, ranges[full].allowed if is_out else in_words(type(reference.values[key])))


def _like(value: Any, default: Any) -> bool:
    """Return whether a value has the type that the default in the option file shows; null and `${...}` show none."""
    if isinstance(default, list):
        # A number may stand for a list of one; where it may not, the range reports it.
        return isinstance(value, list) or is_integer(value)
    if default is None or isinstance(default, dict) or (isinstance(default, str) and "${" in default):
        return True
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    return is_number(value) if isinstance(default, float) else is_integer(value)
