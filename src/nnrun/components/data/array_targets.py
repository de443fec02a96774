"""The targets of arrays: their kind, as set or inferred, and their values in the form of that kind."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.targets import Kind, Targets
from nnrun.base.visible import few
from nnrun.components.data.label_arrays import CHUNK_SAMPLES, classes_in, parts_of
from nnrun.components.data.labels import classes_of, numbers_among

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray]

# Whole numbers stored as floats are classes up to this number of different ones.
_MOST_CLASSES_AS_FLOATS = 100
# The largest error of rounding values to float32, relative to their standard deviation, without a note.
_ROUNDING = 1e-3


class Learned(NamedTuple):
    """What is learned, the targets of each split by its name in messages, and notes."""

    targets: Targets
    values: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def learned_of(
    arrays: Arrays, kind: str, order: str, names: Sequence[str] | None = None, known: Targets | None = None
) -> Learned:
    """Return what is learned from arrays `(N,)` or `(N, K)`, by their names in messages; the first is for training.

    `kind` is that of Targets or `auto`; `names` are those of the columns, where the data has them; `known`, what a
    trained network has learned, decides where it is given. Raises DataError that names the array and the wrong sample.
    """
    columns = _columns(arrays)
    first = next(iter(columns))
    if known is not None and kind not in ("auto", known.kind):
        raise DataError(f"data.targets={kind}, but the network has learned {known}; remove it")
    if kind == "auto":
        kind = known.kind if known is not None else _kind_shown(arrays)
    if kind == "classes":
        return _classes(arrays, order, known)
    assert kind in get_args(Kind)
    targets, notes = _named(kind, columns[first].shape[1], first, names, known)
    values = {name: _floats(name, array, targets) for name, array in columns.items()}
    told = _of_labels(values[first], first) if kind == "labels" else rounding_of(columns[first], values[first], first)
    return Learned(targets, values, (*notes, *told, *(_taken_for(arrays, kind) if known is None else ())))


def _columns(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return arrays as `(N, K)`; raise DataError where one has another form, or not the columns of the first."""
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise DataError(
                f"{name} has shape {_shown(array)}; targets are (N,), or (N, K) for several labels or values"
            )
        if 0 in array.shape:
            raise DataError(f"{name} has shape {_shown(array)}: it has no {'labels' if not len(array) else 'column'}")
    columns = {name: array.reshape(len(array), -1) for name, array in arrays.items()}
    first = next(iter(columns))
    for name, array in columns.items():
        if array.shape[1] != columns[first].shape[1]:
            both = f"{name} has {array.shape[1]:,} columns, but {first} has {columns[first].shape[1]:,}"
            raise DataError(f"{both}: all splits need the same targets")
    return columns


def _kind_shown(arrays: Arrays) -> Kind:
    """Return the kind inferred from arrays.

    In one column, integers and strings are classes, floats values; in several, 0 and 1 are labels, other floats values.
    """
    first, array = next(iter(arrays.items()))
    is_float = all(array.dtype.kind == "f" for array in arrays.values())
    if array.ndim == 1 or array.shape[1] == 1:
        return "values" if is_float and not _are_classes(arrays) else "classes"
    if all(array.dtype.kind in "biuf" and bool(((array == 0) | (array == 1)).all()) for array in arrays.values()):
        return "labels"
    if is_float:
        return "values"
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{first} has shape {_shown(array)} and type {array.dtype}; labels are 0 or 1 in a column each, values are "
            "numbers"
        )
    low, high = array.min(), array.max()
    if low == -1 and high < 2:
        return "labels"  # some unknown: the first is reported later
    raise DataError(
        f"{first} has shape {_shown(array)} and integers from {low} to {high}: labels are 0 or 1; for values, save "
        "floats or set data.targets=values"
    )


def _are_classes(arrays: Arrays) -> bool:
    """Return whether floats are whole numbers as for classes: from 0 up, and few different ones."""
    import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

    found: set[float] = set()
    for part in itertools.chain.from_iterable(map(parts_of, arrays.values())):
        if not bool(((part >= 0) & (part == np.floor(part)) & np.isfinite(part)).all()):
            return False
        found.update(np.unique(part).tolist())
        if len(found) > _MOST_CLASSES_AS_FLOATS:
            return False
    return len(found) > 1


def _classes(arrays: Arrays, order: str, known: Targets | None) -> Learned:
    """Return labels, one number or string per sample, as classes."""
    labels = {}
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] != 1:
            raise DataError(
                f"{name} has shape {_shown(array)}; classes are one number or string per sample, (N,); for several "
                "columns use problem=multilabel (0 and 1) or problem=regression, with a loss that fits it"
            )
        labels[name] = array.reshape(-1)
    if known is not None:
        return Learned(*classes_in(labels, lambda of: (known, numbers_among(known, of))))
    targets, numbers = classes_in(labels, lambda of: classes_of(of, next(iter(arrays)), order=order))
    named = targets.names
    is_counted = not named[0].isdecimal() or named == tuple(map(str, range(len(named))))
    notes = () if is_counted else (f"classes found in the labels: {', '.join(named[:10])}",)
    return Learned(targets, numbers, (*notes, *_taken_for(arrays, "classes")))


def _taken_for(arrays: Arrays, kind: str) -> tuple[str, ...]:
    """Return the note where floats are ambiguous: whole numbers read as classes, 0 and 1 read as labels."""
    name, array = next(iter(arrays.items()))
    if array.dtype.kind != "f" or kind == "values":
        return ()
    what = {"classes": "that are whole numbers", "labels": "of 0 and 1"}[kind]
    return (f"{name} contains floats {what}, read as {kind}; to read them as values, use data.targets=values",)


def _named(
    kind: str, num_columns: int, first: str, names: Sequence[str] | None, known: Targets | None
) -> tuple[Targets, list[str]]:
    """Return the targets of columns, with the names in the data or else numbered; and notes.

    Raises DataError where a trained network has others.
    """
    if known is not None:
        stated = names if names is not None and len(names) == num_columns else known.names
        if known.kind != kind or tuple(stated) != known.names or len(known.names) != num_columns:
            called = f", {few(names)}" if names else ""
            raise DataError(
                f"{first} has {num_columns:,} {kind}{called}; the network has learned {known}, {few(known.names)}"
            )
        return known, []
    if names is not None and len(names) == num_columns:
        if len(set(names)) < len(names):
            raise DataError(f"{first}: two columns have the same name, among {few(names)}")
        return Targets(kind, tuple(names)), []  # type: ignore[arg-type]
    notes = [f"the {len(names):,} names of columns are ignored: {first} has {num_columns:,} columns"] if names else []
    numbered = ["value"] if kind == "values" and num_columns == 1 else [f"{kind[:-1]}_{i}" for i in range(num_columns)]
    return Targets(kind, tuple(numbered)), notes  # type: ignore[arg-type]


def _floats(name: str, array: np.ndarray, targets: Targets) -> Tensor:
    """Return an array of numbers as float32; raise DataError where one is not valid for the kind."""
    import numpy as np  # noqa: PLC0415 - as above

    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} is {array.dtype}; {targets.kind} are numbers")
    with np.errstate(over="ignore"):
        values = torch.from_numpy(array.astype(np.float32))
    is_wrong = ~values.isfinite() if targets.kind == "values" else (values != 0) & (values != 1)
    if not bool(is_wrong.any()):
        return values
    sample, column = is_wrong.nonzero()[0].tolist()
    found, what = array[sample, column].item(), targets.names[column]
    wrong = (
        f"{name}: sample {sample} has {found:g} for {what}"
        if targets.num_outputs > 1
        else f"{name}: sample {sample} is {found:g}"
    )
    if targets.kind == "values":
        raise DataError(f"{wrong}; values must be finite in float32: remove such samples")
    is_unknown = found == -1 or math.isnan(found)
    raise DataError(
        f"{wrong}; labels are 0 or 1"
        + ("; unknown labels are not supported: remove such samples" if is_unknown else "")
    )


def _of_labels(labels: Tensor, name: str) -> list[str]:
    """Return the note on labels that may be classes."""
    if labels.shape[1] < 2 or not bool((labels.sum(1) == 1).all()):
        return []
    return [
        f"every row of {name} has exactly one 1: if no sample can have several labels, save the index of the 1, "
        "y.argmax(1), to train a classification"
    ]


def rounding_of(given: np.ndarray, values: Tensor, name: str) -> list[str]:
    """Return the note on values `(N, K)` whose differences are small compared with the rounding of float32."""
    import numpy as np  # noqa: PLC0415 - as above

    # Relative to the first sample, so that a constant column has a deviation of exactly 0.
    first = given[:1].astype(np.float64)
    mean, square, rounding = (np.zeros(given.shape[1]) for _ in range(3))
    for part in parts_of(given):
        mean += (part.astype(np.float64) - first).sum(0) / len(given)
    for part, kept in zip(parts_of(given), values.split(CHUNK_SAMPLES), strict=True):
        exact = part.astype(np.float64)
        square += np.square(exact - first - mean).sum(0) / len(given)
        rounding = np.maximum(rounding, np.abs(exact - kept.numpy()).max(0))
    lost = (rounding > _ROUNDING * np.sqrt(square)) & (square > 0)
    if not bool(lost.any()):
        return []
    return [f"{name}: float32 rounds values by more than 0.1 % of their standard deviation; subtract a common offset"]


def _shown(array: np.ndarray) -> str:
    """Return the shape of an array in words."""
    return f"({', '.join(map(str, array.shape))})" if array.ndim != 1 else f"({len(array)},)"
