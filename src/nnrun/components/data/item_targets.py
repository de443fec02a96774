"""The targets of a map-style data set, one per sample: a number, a string, or several numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.array_targets import Learned, learned_of
from nnrun.components.data.labels import classes_of, numbers_among

if TYPE_CHECKING:
    import numpy as np


def learned_of_items(
    labels: Mapping[str, Sequence[Any]],
    kind: str,
    order: str,
    listed: Sequence[str] | None = None,
    known: Targets | None = None,
) -> Learned:
    """Return what is learned from the targets of each split; the first is the training split.

    `kind` is that of Targets or `auto`: then one whole number or string per sample is a class; vectors and other
    numbers are treated as in arrays. `listed` are the names of classes, or of the vectors' elements; `known`, what a
    trained network has learned, decides where it is given. Raises DataError that names the split and the sample.
    """
    if _are_classes(labels, known.kind if known is not None and kind == "auto" else kind):
        if known is not None:
            return Learned(known, numbers_among(known, labels, listed))
        targets, numbers = classes_of(labels, next(iter(labels)), listed, order)
        return Learned(targets, numbers)
    return learned_of({part: _array(part, of) for part, of in labels.items()}, kind, order, listed, known)


def _are_classes(labels: Mapping[str, Sequence[Any]], kind: str) -> bool:
    """Return whether targets are one class per sample: as set, or inferred."""
    if kind != "auto":
        return kind == "classes"
    every = [label for of in labels.values() for label in of]
    return not any(_is_vector(label) or (isinstance(label, float) and not label.is_integer()) for label in every)


def _is_vector(label: Any) -> bool:
    """Return whether a target is several numbers."""
    return isinstance(label, list | tuple) or getattr(label, "ndim", 0) > 0


def _array(part: str, labels: Sequence[Any]) -> np.ndarray:
    """Return the targets of a split as one array, `(N,)` or `(N, K)`."""
    import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

    rows: list[np.ndarray] = []
    for index, label in enumerate(labels):
        try:
            row = np.asarray(label)
        except (TypeError, ValueError) as error:
            raise DataError(f"{part}: sample {index} has a target that is not one or more numbers: {error}") from error
        if row.dtype.kind not in "biuf" or row.ndim > 1:
            raise DataError(f"{part}: sample {index} has a target {_a(label)}; a target is one or more numbers")
        if rows and row.shape != rows[0].shape:
            here, there = (f"{of.size:,} numbers" if of.ndim else "one number" for of in (row, rows[0]))
            raise DataError(f"{part}: sample {index} has a target of {here}, but sample 0 of {there}")
        rows.append(row)
    return np.stack(rows)


def _a(label: Any) -> str:
    """Return the type and shape of a target in words."""
    shape = getattr(label, "shape", None)
    return f"of type {type(label).__name__}" + (f" and shape {tuple(shape)}" if shape is not None else "")
