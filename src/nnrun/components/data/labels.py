"""Convert labels, numbers or strings, to the numbers of classes; an error names an invalid label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.payload import writable
from nnrun.components.data.layout import same_name
from nnrun.components.data.order import CLASS_ORDERS


def classes_of(
    labels: Mapping[str, Sequence[Any]], first: str, listed: Sequence[str] | None = None, order: str = "natural"
) -> tuple[Targets, dict[str, Tensor]]:
    """Return the classes, and the labels of each split as their numbers, int64 `(N,)`.

    `labels` are by the split's name in messages, such as its file. The classes are those of the split `first`, numbers
    by size and strings by `order`; or those `listed`, and then a number is an index into the list. The Unicode forms of
    a string are one class, except for the order `text`, which is that of older runs. Raises DataError that names the
    split and the sample whose label is negative, not a whole number, or of no class.
    """
    plain = {part: [_plain(part, index, label) for index, label in enumerate(of)] for part, of in labels.items()}
    texts = {label for of in labels.values() for label in of if isinstance(label, str)}
    if len(set(map(writable, texts))) < len(texts):
        raise DataError(f"{first}: two labels differ only in characters that no file can store")
    if order != "text":
        plain = {
            part: [same_name(label) if isinstance(label, str) else label for label in of] for part, of in plain.items()
        }
        listed = None if listed is None else _told_apart(first, tuple(map(same_name, listed)), texts)
    kinds = {type(label) for of in plain.values() for label in of}
    if len(kinds) > 1:
        raise DataError(f"{first}: some labels are numbers and some are strings")
    if listed is None:
        values: Sequence[Any] = _sorted(set(plain[first]), order)
    else:
        values = list(range(len(listed))) if kinds == {int} else list(listed)
    if len(values) < 2:
        raise DataError(
            f"{first}: all labels are {values[0] if values else 'missing'}; classification needs at least two classes"
        )
    places = {value: place for place, value in enumerate(values)}
    found: dict[str, Tensor] = {}
    for part, of in plain.items():
        for index, label in enumerate(of):
            if label not in places:
                there = f"the classes are {few(values, 8)}" if listed is not None else f"{first} has {few(values, 8)}"
                raise DataError(f"{part}: sample {index} has the label {label!r}, which is not a class: {there}")
        found[part] = torch.tensor([places[label] for label in of], dtype=torch.int64)
    return Targets.classes(list(map(str, values)) if listed is None else listed), found


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names: repeated ones get their index, as in `crane (134)`."""
    forms = [same_name(name) for name in names]
    counts = Counter(forms)
    taken, told = set(forms), []
    for place, (name, form) in enumerate(zip(names, forms, strict=True)):
        own = name
        while counts[form] > 1 and (own == name or own in taken):
            own = f"{own} ({place})"
        taken.add(own)
        told.append(own)
    return tuple(told)


def _told_apart(first: str, listed: Sequence[str], texts: Collection[str]) -> tuple[str, ...]:
    """Return the listed names of classes, made distinct; raise DataError where a label may mean two of them."""
    names = distinct(listed)
    unclear = {name for name, own in zip(listed, names, strict=True) if name != own} & {
        same_name(text) for text in texts
    }
    if unclear:
        raise DataError(f"{first}: the class {min(unclear)} is listed more than once, and labels refer to it")
    return names


def _sorted(values: Collection[Any], order: str) -> list[Any]:
    """Return labels in order: numbers by size, strings as `order` says."""
    return sorted(values, key=lambda value: CLASS_ORDERS[order](value) if isinstance(value, str) else value)


def numbers_among(
    known: Targets, labels: Mapping[str, Sequence[Any]], listed: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Return the labels of each split as indices into the classes of a trained network, int64 `(N,)`.

    A number is an index into the names that the data set has `listed`, where it lists them. Classes may be missing.
    Raises DataError that names the split and the sample whose label the network does not know.
    """
    # nnrun 0.1.0 kept a list with the same name for two classes as it was.
    names, listed = distinct(known.names), listed and distinct(listed)
    places = {same_name(name): place for place, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
    found = {}
    for part, of in labels.items():
        numbers = []
        for index, label in enumerate(of):
            plain = _plain(part, index, label)
            name = listed[plain] if listed and isinstance(plain, int) and plain < len(listed) else str(plain)
            name = name if name in places else same_name(name)
            if name not in places:
                raise DataError(
                    f"{part}: sample {index} has the label {name!r}, which is not a class of the network; its classes "
                    f"are {few(names, 8)}"
                )
            numbers.append(places[name])
        found[part] = torch.tensor(numbers, dtype=torch.int64)
    return found


def _plain(part: str, index: int, label: Any) -> int | str:
    """Return a label as a whole number from 0 up, or as a string."""
    if isinstance(label, str):
        return writable(label)
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    try:
        number = label.item() if hasattr(label, "item") else label
        if isinstance(number, str | bytes):
            return _plain(part, index, number)
        is_whole = not isinstance(number, complex) and math.isfinite(number) and int(number) == number
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{part}: sample {index} has a label of type {type(label).__name__}; a label is one number or string"
        ) from error
    if not is_whole:
        raise DataError(f"{part}: sample {index} has the label {number}, which is not a whole number")
    if number < 0:
        raise DataError(f"{part}: sample {index} has the label {int(number)}; labels start at 0")
    return int(number)
