"""Settings of `data` that have no effect with the chosen data set. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.errors import Complaint
from nnrun.config.overrides import Typed
from nnrun.config.schema import TAKEN_BY_SOME
from nnrun.config.tree import value_at


def idle_data_settings(tree: Mapping[str, Any]) -> Iterator[Complaint]:
    """Find settings of `data` that a data set of ours does not take; `build` checks those of a custom class."""
    section, data = _dataset_of_ours(tree), tree.get("data")
    if section is not None and isinstance(data, Mapping):
        yield from not_taken(data, section)


def not_taken(data: Mapping[str, Any], section: Mapping[str, Any]) -> list[Complaint]:
    """Complain of each setting of `data` that is given and that the section `data.dataset` does not take."""
    named = {key: data.get(key) for key, idle in TAKEN_BY_SOME.items() if data.get(key) not in (idle, None)}
    return [
        Complaint(
            f"data.{key}", f"data.{key}={value} has no effect: data={data.get('name')} does not take it; remove it"
        )
        for key, value in named.items()
        if key not in section
    ]


def unread_root(typed: Sequence[Typed], tree: Mapping[str, Any]) -> Iterator[Complaint]:
    """Complain of data.root for a data set that reads no folder, and of data.class_order for one with a fixed order."""
    section = _dataset_of_ours(tree)
    if section is None:
        return
    values = {item.key: item.value for item in typed if not item.is_group}
    name = value_at(tree, "data.name")
    why = {
        "root": "which reads no folder; data=folder reads a folder of images, data=arrays one of arrays",
        "class_order": "whose classes have a fixed order",
    }
    for key, reason in why.items():
        full = f"data.{key}"
        if full in values and key not in section:
            yield Complaint(full, f"{full}={values[full]} has no effect with data={name}, {reason}")


def unread_tokenizer(typed: Sequence[Typed], tree: Mapping[str, Any]) -> Iterator[Complaint]:
    """Complain of settings of a tokenizer for data without texts, and beside a network that has its own; and of none
    for texts.
    """
    words = [item for item in typed if item.key.partition(".")[0] == "tokenizer" and item.value != "none"]
    section, name = _dataset_of_ours(tree), value_at(tree, "data.name")
    if section is not None and "tokenizer" not in section:
        for item in words:
            yield Complaint(item.key, f"{item.key}={item.value} has no effect with data={name}, which has no texts")
        return
    for item in words:
        if item.key == "tokenizer.padding":
            yield Complaint(item.key, f"{item.key}={item.value}: padding follows from the model; remove it")
    source = next((key for key in ("ckpt", "init_from") if value_at(tree, key) is not None), None)
    if source is not None:
        for item in [*words, *(item for item in typed if item.key == "data.max_length")]:
            text = f"{item.key}={item.value} has no effect with {source}=: its network has a tokenizer; remove it"
            yield Complaint(item.key, text)
    elif section is not None and tree.get("tokenizer") is None:
        yield Complaint("tokenizer", f"tokenizer=none, but data={name} has texts; remove it, or choose another")


def _dataset_of_ours(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section of the data set, if its class is ours."""
    section = value_at(tree, "data.dataset")
    is_ours = isinstance(section, Mapping) and str(section.get("_target_")).startswith("nnrun.")
    return section if is_ours else None
