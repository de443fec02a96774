"""New rows for a trained network: its columns, found by name in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.table.columns import Column
from nnrun.components.data.table.kinds import ID_TITLE, Cells, cells_of
from nnrun.components.data.table.written_numbers import sign_of

if TYPE_CHECKING:
    import polars as pl


def cells_read(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    called: str,
    at: Callable[[int], str],
    *,
    has_decimal_commas: bool = False,
) -> dict[str, Cells]:
    """Return the cells of the columns that a network reads; other columns are not looked at.

    `called` is the table in messages, and `at` one of its rows. Raises DataError that names a column that is missing,
    or a cell that is not of the kind of its column.
    """
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        hint = did_you_mean(lacking[0], frame.columns) or f"it has {few(list(map(shown, frame.columns)), 20)}"
        names = few([shown(name) for name in lacking])
        raise DataError(f"{called} has no column {names}, which the network reads; {hint}")
    found = {}
    for column in columns:
        series = frame[column.name]
        if series.dtype == pl.Null:
            series = series.cast(pl.String)
        cells = cells_of(series, column.kind, has_decimal_commas=has_decimal_commas, written=column.written)
        if cells.wrong is not None:
            raise DataError(f"{at(cells.wrong)}: {shown(column.name)} is {wrong_cell(series, cells)}")
        check_sign(series, cells, column, at)
        if cells.kind != column.kind or (column.kind == "date" and not cells.values.dtype.is_temporal()):
            raise DataError(f"{called}: the column {shown(column.name)} holds {series.dtype}, not a {column.kind}")
        found[column.name] = cells
    return found


def check_sign(series: pl.Series, cells: Cells, column: Column, at: Callable[[int], str]) -> None:
    """Raise DataError if numbers have a percent sign or a currency that those of the training did not have."""
    sign, known = sign_of(cells.written), sign_of(column.written)
    if column.kind == "number" and sign and sign != known:
        row = int(series.is_not_null().arg_true()[0])
        has = f"the sign {known}" if known else "no sign"
        raise DataError(
            f"{at(row)}: {shown(column.name)} is {shown(str(series[row])[:60])}, but the numbers of the training have "
            f"{has}; write them in the same unit"
        )


def wrong_cell(series: pl.Series, cells: Cells) -> str:
    """Return the cell that is not of the kind of its column, and what it should be."""
    assert cells.wrong is not None, "a cell is wrong"
    word = shown(str(series[cells.wrong])[:60])
    if cells.signs:
        return f"{word}, but other cells are numbers with {sign_of(cells.written) or 'no sign'}"
    what = {"number": "a number", "date": "a date", "boolean": "true or false"}[cells.kind]
    return f"{word}, which is not {what} like the other cells"


def ids_of(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[str, list[str]] | None:
    """Return the title and the cells of the column that names the rows; None if there is none.

    It is one that the network does not read: called an id, or with another value in each row of many.
    """
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    read = {column.name for column in columns}
    others = [series for series in frame.get_columns() if series.name not in read and not series.null_count()]
    named = [series for series in others if ID_TITLE.fullmatch(series.name)]
    shown_so = (series for series in others if cells_of(series, None, has_decimal_commas=False).kind == "id")
    found = next((series for series in named if series.n_unique() == len(series)), None)
    found = found if found is not None else next(shown_so, None)
    return None if found is None else (found.name, found.cast(pl.String).to_list())
