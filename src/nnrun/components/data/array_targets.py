"""The targets of arrays: what kind they are, as set or as they show, and their values as that kind has them."""

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

# Whole numbers that are stored as floats are classes where there are at most so many of them.
_MOST_CLASSES_AS_FLOATS = 100
# Of values, rounding to float32 may take so much of their deviation.
_ROUNDING = 1e-3


class Learned(NamedTuple):
    """What is learned, the targets of each part by what people call it, and what is to be said of them."""

    targets: Targets
    values: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def learned_of(
    arrays: Arrays, kind: str, order: str, names: Sequence[str] | None = None, known: Targets | None = None
) -> Learned:
    """Return what is learned of arrays `(N,)` or `(N, K)`, by what people call them; the first is to train on.

    `kind` is that of Targets or `auto`; `names` are those of the columns, where the data states them; `known` is what a
    trained network has learned, which decides. Raises DataError that names the array and the sample that is wrong.
    """
    columns = _columns(arrays)
    first = next(iter(columns))
    if known is not None and kind not in ("auto", known.kind):
        raise DataError(f"data.targets={kind}, and the network has learned {known}; leave it out")
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
    """Return arrays as `(N, K)`; raise DataError where one is no such, or has other columns than the first."""
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise DataError(f"{name} is {_shown(array)}; targets are (N,), or (N, K) for several labels or values")
        if 0 in array.shape:
            raise DataError(f"{name} is {_shown(array)}: it holds no {'labels' if not len(array) else 'column'}")
    columns = {name: array.reshape(len(array), -1) for name, array in arrays.items()}
    first = next(iter(columns))
    for name, array in columns.items():
        if array.shape[1] != columns[first].shape[1]:
            both = f"{name} has {array.shape[1]:,} columns, and {first} has {columns[first].shape[1]:,}"
            raise DataError(f"{both}: the targets of all parts are alike")
    return columns


def _kind_shown(arrays: Arrays) -> Kind:
    """Return the kind that arrays show.

    Of one column whole numbers and texts are classes, floats values. Of several those of 0 and 1 are
    labels, other floats values.
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
            f"{first} is {_shown(array)} of {array.dtype}; labels are 0 or 1 in a column each, values numbers"
        )
    low, high = array.min(), array.max()
    if low == -1 and high < 2:
        return "labels"  # of which some are not known, as is said of the first
    raise DataError(
        f"{first} is {_shown(array)} of whole numbers from {low} to {high}: labels are 0 or 1; for values save floats, "
        "or set data.targets=values"
    )


def _are_classes(arrays: Arrays) -> bool:
    """Return whether floats are whole numbers, as of classes: from 0 up, and not very many."""
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
    """Return labels that are numbers or texts, one a sample, as classes."""
    labels = {}
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] != 1:
            raise DataError(
                f"{name} is {_shown(array)}; classes are one number or text a sample, (N,); several columns are for "
                "problem=multilabel (of 0 and 1) or problem=regression, and a loss that goes with it"
            )
        labels[name] = array.reshape(-1)
    if known is not None:
        return Learned(*classes_in(labels, lambda of: (known, numbers_among(known, of))))
    targets, numbers = classes_in(labels, lambda of: classes_of(of, next(iter(arrays)), order=order))
    named = targets.names
    is_counted = not named[0].isdecimal() or named == tuple(map(str, range(len(named))))
    notes = () if is_counted else (f"classes, as the labels say: {', '.join(named[:10])}",)
    return Learned(targets, numbers, (*notes, *_taken_for(arrays, "classes")))


def _taken_for(arrays: Arrays, kind: str) -> tuple[str, ...]:
    """Return what is said where floats might be meant otherwise: whole numbers for classes, 0 and 1 for labels."""
    name, array = next(iter(arrays.items()))
    if array.dtype.kind != "f" or kind == "values":
        return ()
    what = {"classes": "that are whole numbers", "labels": "of 0 and 1"}[kind]
    return (f"{name} holds floats {what}: they are taken for {kind}; data.targets=values takes them for values",)


def _named(
    kind: str, num_columns: int, first: str, names: Sequence[str] | None, known: Targets | None
) -> tuple[Targets, list[str]]:
    """Return the targets of columns: with the names that the data states, or else with numbers; and what is to be said.

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
    notes = [f"{len(names):,} names are stated, and {first} has {num_columns:,} columns: not taken"] if names else []
    numbered = ["value"] if kind == "values" and num_columns == 1 else [f"{kind[:-1]}_{i}" for i in range(num_columns)]
    return Targets(kind, tuple(numbered)), notes  # type: ignore[arg-type]


def _floats(name: str, array: np.ndarray, targets: Targets) -> Tensor:
    """Return an array of numbers as float32; raise DataError where one is none that the kind has."""
    import numpy as np  # noqa: PLC0415 - as above

    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {array.dtype}; {targets.kind} are numbers")
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
        raise DataError(f"{wrong}; values are finite numbers of float32: leave such samples out")
    is_unknown = found == -1 or math.isnan(found)
    raise DataError(
        f"{wrong}; labels are 0 or 1"
        + ("; one that is not known cannot be told so: leave such samples out" if is_unknown else "")
    )


def _of_labels(labels: Tensor, name: str) -> list[str]:
    """Return what is said of labels that may be classes."""
    if labels.shape[1] < 2 or not bool((labels.sum(1) == 1).all()):
        return []
    return [
        f"every row of {name} has exactly one 1: if a sample never has several labels, save the place of the 1, "
        "y.argmax(1), to train a classification"
    ]


def rounding_of(given: np.ndarray, values: Tensor, name: str) -> list[str]:
    """Return what is said of values `(N, K)` that float32 rounds to a good part of their differences."""
    import numpy as np  # noqa: PLC0415 - as above

    # Less the first sample: what never changes then has a deviation of 0, whatever it is.
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
    return [f"{name} holds values that float32 rounds to a good part of their differences: subtract what they share"]


def _shown(array: np.ndarray) -> str:
    """Return the shape of an array as people write it."""
    return f"({', '.join(map(str, array.shape))})" if array.ndim != 1 else f"({len(array)},)"
