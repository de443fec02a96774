"""Check a whole config: names, types, ranges, and settings that exclude each other. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.errors import Complaint
from nnrun.config.conflicts import Conflict
from nnrun.config.data_settings import idle_data_settings
from nnrun.config.meant import hint_for_value
from nnrun.config.monitor import check_monitor
from nnrun.config.rules import Rules
from nnrun.config.target_sections import References, check_target_sections
from nnrun.config.tree import value_at
from nnrun.config.typed_sections import check_typed_sections

# Stands for a missing value: null is a value.
_ABSENT = object()


def check(
    tree: Mapping[str, Any], references: References, rules: Rules, problems: Sequence[str] = ()
) -> list[Complaint]:
    """Return the complaints about a resolved config.

    `references` has the reference of each section with a `_target_`; `problems` are the classes of the possible
    problems, where the data decides. A key that one check complains about is skipped by the next.
    """
    found = check_typed_sections(tree, rules)
    wrong = _keys(found)
    found += (item for item in check_target_sections(tree, references, rules.ranges) if item.key not in wrong)
    found += _check_ranges(tree, references, rules, _keys(found))
    task = rules.task_of(tree)
    if task is None or task.builds_section("data.dataset"):
        found += idle_data_settings(tree)
    found += _check_conflicts(tree, rules.conflicts, _keys(found))
    wrong = _keys(found)
    found += (item for item in check_monitor(tree, problems, rules.known.metrics) if item.key not in wrong)
    return found


def _keys(complaints: Collection[Complaint]) -> set[str]:
    """Return the keys that complaints are about."""
    return {item.key for item in complaints}


def _check_ranges(
    tree: Mapping[str, Any], references: References, rules: Rules, wrong: Collection[str]
) -> Iterator[Complaint]:
    """Find values that are out of their range."""
    for key, allowed in rules.ranges.items():
        value = value_at(tree, key, _ABSENT)
        if value is _ABSENT or key in wrong or not _is_ranged(key, tree, references, rules):
            continue
        if not allowed.holds(value):
            yield Complaint.of(key, value, allowed.allowed, hint_for_value(key, value, allowed.words))


def _is_ranged(key: str, tree: Mapping[str, Any], references: References, rules: Rules) -> bool:
    """Return whether a range applies to a key: a parameter of a class that is not ours may mean anything."""
    section = key.rpartition(".")[0]
    if section in (*rules.sections, ""):
        return True
    reference, target = references.get(section), str(value_at(tree, section + "._target_"))
    return (
        reference is not None
        and reference.complete
        and target == reference.values.get("_target_")
        and target.startswith(("nnrun.", "torch."))
    )


def _check_conflicts(
    tree: Mapping[str, Any], conflicts: Sequence[Conflict], wrong: Collection[str]
) -> Iterator[Complaint]:
    """Find settings that exclude each other."""
    for conflict in conflicts:
        values = [value_at(tree, key) for key in conflict.keys]
        if not any(key in wrong for key in conflict.keys) and conflict.clashes(*values):
            yield Complaint(conflict.keys[0], conflict.message.format(*values), conflict.keys[1:])
