"""The targets in the columns of a table: a class, several labels, or values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.targets import Kind, Targets
from nnrun.base.visible import few
from nnrun.components.data.array_targets import Learned, rounding_of
from nnrun.components.data.csv_table import DECIMAL_COMMA, Table
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.layout import same_name
from nnrun.components.data.order import CLASS_ORDERS

# What separates several labels in a cell; where no cell has any of these, spaces do.
_SEPARATORS, _SURE_SEPARATORS = re.compile(r"[;|,]"), re.compile(r"[;|]")
_WHOLE = re.compile(r"[0-9]+")
_YES_OR_NO = {"true": 1.0, "false": 0.0}
# Whole numbers in one column are classes up to this number of different ones.
_MOST_CLASSES = 100


@dataclass(frozen=True)
class Columns:
    """The target columns of a table, and the rows of each split."""

    table: Table
    columns: Sequence[int]
    rows: Mapping[str, Sequence[int]]

    @property
    def names(self) -> list[str]:
        """The titles of the columns."""
        return [self.table.titles[column] for column in self.columns]

    @property
    def all_rows(self) -> list[int]:
        """The rows of all splits."""
        return [row for rows in self.rows.values() for row in rows]

    def cells(self, column: int, part: str | None = None) -> list[str]:
        """Return the cells of a column, of all splits or of one."""
        return [self.table.rows[row][column] for row in (self.all_rows if part is None else self.rows[part])]

    def wrong(self, row: int, column: int, what: str) -> DataError:
        """Return the error that names a cell."""
        title, cell = shown(self.table.titles[column]), shown(self.table.rows[row][column])
        return DataError(f"{self.table.at(row)}: {title} is {cell or 'empty'}; {what}")


def learned_of_columns(given: Columns, kind: str, order: str, known: Targets | None = None) -> Learned:
    """Return what is learned, and the targets of each split; the first is the training split.

    `kind` is that of Targets or `auto`; `known`, what a trained network has learned, decides where it is given. Raises
    DataError that names the line and the column of a wrong cell.
    """
    if known is not None and kind not in ("auto", known.kind):
        raise DataError(f"data.targets={kind}, but the network has learned {known}; remove it")
    notes: tuple[str, ...] = ()
    if known is not None:
        kind = known.kind
    elif kind == "auto":
        kind, notes = _kind_shown(given)
    if kind == "classes":
        learned = _classes(given, order, known)
    elif kind == "labels" and len(given.columns) == 1 and not _is_column_of_a_label(given, known):
        learned = _several_in_a_cell(given, order, known)
    else:
        learned = _numbers(given, kind, known)
    return learned._replace(notes=(*notes, *learned.notes))


def _kind_shown(given: Columns) -> tuple[Kind, tuple[str, ...]]:
    """Return the kind inferred from the cells, and a note where it is ambiguous."""
    if len(given.columns) > 1:
        cells = [cell for column in given.columns for cell in given.cells(column)]
        return ("labels" if all(_as_label(given, cell) is not None for cell in cells) else "values"), ()
    column, title = given.cells(given.columns[0]), shown(given.names[0])
    if all(_WHOLE.fullmatch(cell) for cell in column) and len(set(column)) <= _MOST_CLASSES:
        text = f"{title} contains whole numbers, read as classes; to read them as values, use data.targets=values"
        return "classes", (text,)
    if _are_numbers(given, column):
        return "values", ()
    if not all(column) and not any(_SEPARATORS.search(cell) or " " in cell for cell in column):
        empty = next(row for row in given.all_rows if not given.table.rows[row][given.columns[0]])
        what = "each sample needs a class: remove the line; if samples may have no label, set data.targets=labels"
        raise given.wrong(empty, given.columns[0], what)
    return _kind_of_words(column, title)


def _are_numbers(given: Columns, column: Sequence[str]) -> bool:
    """Return whether the cells of a column are meant as numbers: all but empty ones, or most of them.

    In the second case the others are mistakes, and reported. A few whole numbers among words may be classes.
    """
    cells = [cell for cell in column if cell]
    numbers = [cell for cell in cells if given.table.number(cell) is not None]
    may_be_classes = all(map(_WHOLE.fullmatch, numbers)) and len(set(numbers)) <= _MOST_CLASSES
    return bool(cells) and (len(numbers) == len(cells) or (2 * len(numbers) > len(cells) and not may_be_classes))


def _kind_of_words(column: Sequence[str], title: str) -> tuple[Kind, tuple[str, ...]]:
    """Return whether texts are labels or names of classes, and a note where it is ambiguous."""
    if not all(column) or any(_SURE_SEPARATORS.search(cell) for cell in column):
        return "labels", ()
    has_commas = any("," in cell for cell in column)
    words = {word for cell in column for word in _split(cell, has_commas)}
    as_classes = "to read each cell as a class, use data.targets=classes"
    if has_commas:
        return "labels", (f"{title} is read as labels separated by commas; {as_classes}",)
    if len(words) < len(set(column)):
        return "labels", (f"{title} is read as labels separated by spaces; {as_classes}",)
    if any(" " in cell for cell in column):
        return "classes", (
            f"{title} is read as classes of several words; to read each word as a label, use data.targets=labels",
        )
    return "classes", ()


def _split(cell: str, is_separated: bool) -> list[str]:
    """Return the names in a cell, divided by separators or by spaces."""
    names = _SEPARATORS.split(cell) if is_separated else cell.split()
    return [name.strip() for name in names if name.strip()]


def _classes(given: Columns, order: str, known: Targets | None) -> Learned:
    """Return the cells of a column as classes."""
    if len(given.columns) != 1:
        several = f"{shown(given.table.path)} has the columns {few(given.names)}"
        raise DataError(f"{several}: classes are in one column; choose it with data.target=")
    (column,) = given.columns
    for row in given.all_rows:
        if not given.table.rows[row][column]:
            raise given.wrong(row, column, "each sample needs a class")
    name = shown(given.table.path)
    labels = {part: name if part == "all" else f"{name}, {part}" for part in given.rows}
    cells = {called: given.cells(column, part) for part, called in labels.items()}
    if known is None:
        targets, numbers = classes_of(cells, next(iter(cells)), order=order)
    else:
        targets, numbers = known, numbers_among(known, cells)
    return Learned(targets, {part: numbers[called] for part, called in labels.items()})


def _is_column_of_a_label(given: Columns, known: Targets | None) -> bool:
    """Return whether a single column is of 0 and 1 for one label."""
    (column,) = given.columns
    is_its_own = known is None or known.names == (given.table.titles[column],)
    return is_its_own and all(_as_label(given, cell) is not None for cell in given.cells(column))


def _several_in_a_cell(given: Columns, order: str, known: Targets | None) -> Learned:
    """Return the labels named in the cells of one column, none or several in each."""
    (column,) = given.columns
    is_separated = any(_SEPARATORS.search(cell) for cell in given.cells(column))
    names_of = {row: _split(given.table.rows[row][column], is_separated) for row in given.all_rows}
    if known is None:
        found = {name for names in names_of.values() for name in names}
        if not found:
            raise DataError(f"{shown(given.table.path)}: no cell of {shown(given.names[0])} names a label")
        known = Targets.labels(sorted(found, key=CLASS_ORDERS[order]))
    places = {same_name(name): place for place, name in enumerate(known.names)}
    values = {}
    for part, rows in given.rows.items():
        values[part] = torch.zeros(len(rows), known.num_outputs)
        for place, row in enumerate(rows):
            for name in names_of[row]:
                if name not in places:
                    raise given.wrong(
                        row,
                        column,
                        f"{shown(name)} is not a label of the network; its labels are {few(known.names, 8)}",
                    )
                values[part][place, places[name]] = 1
    return Learned(known, values)


def _numbers(given: Columns, kind: str, known: Targets | None) -> Learned:
    """Return the numbers of the columns, one for each name: 0 and 1 for labels, any for values."""
    if known is not None:
        by_title = dict(zip(given.names, given.columns, strict=True))
        lacking = [name for name in known.names if same_name(name) not in by_title]
        if lacking:
            hint = did_you_mean(lacking[0], given.names) or f"it has {few(given.names)}"
            raise DataError(
                f"{shown(given.table.path)} has no column {shown(lacking[0])}, which the network has learned; {hint}"
            )
        given = Columns(given.table, [by_title[same_name(name)] for name in known.names], given.rows)
    targets = known or Targets(kind, tuple(given.names))  # type: ignore[arg-type]
    exact: dict[str, Tensor] = {}
    for part, rows in given.rows.items():
        read = [[_number(given, row, column, targets.kind) for column in given.columns] for row in rows]
        exact[part] = torch.tensor(read, dtype=torch.float64).reshape(len(rows), len(given.columns))
    values = {part: numbers.float() for part, numbers in exact.items()}
    first = next(iter(exact))
    notes = rounding_of(exact[first].numpy(), values[first], shown(given.table.path)) if len(exact[first]) else []
    return Learned(targets, values, tuple(notes))


def _number(given: Columns, row: int, column: int, kind: Kind) -> float:
    """Return the number in a cell; raise DataError where it is not one of the kind."""
    cell = given.table.rows[row][column]
    if kind == "labels":
        value = _as_label(given, cell)
        if value is None:
            unknown = "; unknown labels are not supported: remove the line" if not cell or cell == "-1" else ""
            raise given.wrong(row, column, f"labels are 0 or 1 in a column each, or names in one column{unknown}")
        return value
    value = given.table.number(cell)
    if value is None:
        if DECIMAL_COMMA.fullmatch(cell):
            raise given.wrong(row, column, f"write {cell.replace(',', '.')}, or separate the columns with semicolons")
        way = (
            "remove the line, or choose other columns with data.target="
            if not cell
            else "correct the cell, or choose other columns with data.target="
        )
        raise given.wrong(row, column, f"values are finite numbers; {way}")
    return value


def _as_label(given: Columns, cell: str) -> float | None:
    """Return 1 or 0 where a cell says that a label applies or does not; else None."""
    value = _YES_OR_NO.get(cell.lower())
    value = given.table.number(cell) if value is None else value
    return value if value in (0, 1) else None
