"""The targets of a table: of which kind they are, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.array_targets import Learned, rounding_of
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.table.kinds import Cells, cells_of

if TYPE_CHECKING:
    import polars as pl

# Whole numbers in one column are classes up to this number of different ones.
_MOST_CLASSES = 20


@dataclass(frozen=True)
class TargetColumns:
    """The columns of targets of a table, and how to name one of its rows in a message."""

    series: Mapping[str, pl.Series]
    has_decimal_commas: bool
    at: Callable[[int], str]
    _found: dict[tuple[str, str | None], Cells] = field(default_factory=dict, repr=False)

    def wrong(self, row: int, name: str, what: str) -> DataError:
        """Return the error that names a cell."""
        cell = self.series[name][row]
        written = "empty" if cell is None else shown(str(cell)[:60])
        return DataError(f"{self.at(row)}: {shown(name)} is {written}; {what}")

    def cells(self, name: str, kind: str | None) -> Cells:
        """Return the cells of a column as a kind, or as the kind that they show."""
        if (name, kind) not in self._found:
            self._found[name, kind] = cells_of(self.series[name], kind, has_decimal_commas=self.has_decimal_commas)
        return self._found[name, kind]


def learned_of_table(given: TargetColumns, kind: str, order: str, known: Targets | None) -> Learned:
    """Return what is learned, and its values for all rows by the name `all`.

    `kind` is that of Targets or `auto`; `known`, what a trained network has learned, decides where it is given.
    """
    for name, series in given.series.items():
        if series.dtype.is_nested():
            raise given.wrong(0, name, "targets are numbers or words; of several labels, each is a column of 0 and 1")
    notes: tuple[str, ...] = ()
    if known is not None:
        if kind not in ("auto", known.kind):
            raise DataError(f"data.targets={kind}, but the network has learned {known}; remove it")
        kind = known.kind
    elif kind == "auto":
        kind, notes = _kind_shown(given)
    learned = _classes(given, order, known) if kind == "classes" else _numbers(given, kind, known)
    return learned._replace(notes=(*notes, *learned.notes))


def _kind_shown(given: TargetColumns) -> tuple[str, tuple[str, ...]]:
    """Return the kind that the cells show, and a note where another is possible."""
    cells = {name: given.cells(name, None) for name in given.series}
    if len(cells) > 1:
        is_number = {name: of.kind == "number" for name, of in cells.items()}
        if all(_are_labels(of) for of in cells.values()):
            return "labels", ()
        if all(is_number.values()):
            return "values", ()
        odd = next(name for name, is_it in is_number.items() if not is_it)
        raise DataError(
            "data.target names several columns, which are labels (0 or 1, yes or no) or values (numbers), but "
            f"{shown(odd)} has {few([shown(str(word)) for word in given.series[odd].drop_nulls().unique().sort()], 3)}"
        )
    ((name, of),) = cells.items()
    if of.kind not in ("number", "id"):
        return "classes", ()
    numbers = given.cells(name, "number").values.drop_nulls()
    distinct = numbers.n_unique()
    if distinct > _MOST_CLASSES or bool((numbers.floor() != numbers).any()):
        return "values", ()
    text = (
        f"{shown(name)} has {distinct} different whole numbers, read as classes; to predict values, use "
        "data.targets=values"
    )
    return "classes", (text,) if distinct > 2 else ()


def _are_labels(cells: Cells) -> bool:
    """Return whether a column says of each row that a label applies, or does not."""
    if cells.kind == "number":
        return bool(cells.values.is_in([0.0, 1.0]).all())
    return cells.kind == "boolean" and not cells.values.null_count()


def _classes(given: TargetColumns, order: str, known: Targets | None) -> Learned:
    """Return the cells of a column as classes."""
    if len(given.series) != 1:
        raise DataError(f"data.target names {few(list(map(shown, given.series)))}: classes are in one column")
    (name,) = given.series
    words = _words(given, name)
    empty = words.is_null().arg_true()
    if len(empty):
        raise given.wrong(int(empty[0]), name, "each row needs a class: remove the row")
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    different = words.unique().sort()
    plain: list[Any] = [int(word) if word.isdecimal() and str(int(word)) == word else word for word in different]
    if not all(isinstance(item, int) for item in plain):
        plain = list(different)
    where = {shown(name): plain}
    if known is None:
        targets, numbers = classes_of(where, shown(name), order=order)
    else:
        targets, numbers = known, numbers_among(known, where)
    of_each = numbers[shown(name)]
    places = words.cast(pl.Enum(different)).to_physical().cast(pl.Int64).to_numpy()
    return Learned(targets, {"all": of_each[torch.from_numpy(places.copy())]})


def _words(given: TargetColumns, name: str) -> pl.Series:
    """Return the cells of a column of classes as text: whole numbers without a fraction, true and false as they are."""
    series = given.series[name]
    if series.dtype.is_numeric():
        return given.cells(name, "category").values
    cells = given.cells(name, None)
    if cells.kind == "number":
        numbers = cells.values
        is_whole = bool((numbers.drop_nulls().floor() == numbers.drop_nulls()).all())
        if is_whole and numbers.null_count() == series.null_count():
            import polars as pl  # noqa: PLC0415 - as above

            return numbers.cast(pl.Int64, strict=False).cast(pl.String)
    return given.cells(name, "category").values


def _numbers(given: TargetColumns, kind: str, known: Targets | None) -> Learned:
    """Return the numbers of the columns, one for each name: 0 and 1 for labels, any for values."""
    names = list(given.series) if known is None else list(known.names)
    columns = [_column(given, name, kind) for name in names]
    exact = np.stack(columns, 1)
    with np.errstate(over="ignore"):
        values = torch.from_numpy(exact.astype(np.float32))
    if kind == "values" and not bool(values.isfinite().all()):
        row, place = (~values.isfinite()).nonzero()[0].tolist()
        raise given.wrong(row, names[place], "values are finite in float32: correct it, or remove the row")
    targets = known or Targets(kind, tuple(names))  # type: ignore[arg-type]
    notes = rounding_of(exact, values, few(list(map(shown, names)))) if kind == "values" else []
    return Learned(targets, {"all": values}, tuple(notes))


def _column(given: TargetColumns, name: str, kind: str) -> np.ndarray:
    """Return the numbers of a column, float64 `(N,)`."""
    cells = given.cells(name, None)
    if kind == "labels" and cells.kind == "boolean":
        cells = Cells("number", (cells.values == "true").cast(float).set(cells.values.is_null(), None))
    elif cells.kind != "number" or cells.wrong is not None:
        cells = given.cells(name, "number")
    empty = cells.values.is_null().arg_true()
    way = "labels are 0 or 1, true or false" if kind == "labels" else "values are numbers"
    if len(empty):
        row = int(empty[0]) if cells.wrong is None else cells.wrong
        raise given.wrong(row, name, f"{way}: correct it, or remove the row")
    numbers = cells.values.to_numpy()
    if kind == "labels" and not np.isin(numbers, (0, 1)).all():
        raise given.wrong(int(np.nonzero(~np.isin(numbers, (0, 1)))[0][0]), name, way)
    return numbers
