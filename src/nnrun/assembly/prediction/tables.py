"""Rows of a table to predict for: from a file, a dict of columns, a list of dicts, or a data frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.assembly.prediction.raw_images import Samples
from nnrun.base.errors import ArtifactError, DataError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import expanded, shown
from nnrun.checkpoints.locate import nearest
from nnrun.components.data.hub_sets import is_saved_set, saved_rows
from nnrun.components.data.table.coding import coded
from nnrun.components.data.table.columns import Column, unpacked
from nnrun.components.data.table.files import Files
from nnrun.components.data.table.given import given_cells
from nnrun.components.data.table.new_rows import cells_read, ids_of
from nnrun.components.data.table.reader import is_table, read_sheet, stripped
from nnrun.components.data.table.rows import together
from nnrun.core.trees import num_samples, samples_of

if TYPE_CHECKING:
    import polars as pl

TABLE = "nnrun.components.data.table.preprocessing.TablePreprocessing"
_GIVE = "give the path of a table, a dict of columns, a list of dicts, or a data frame"


@dataclass(frozen=True)
class NewRows:
    """The rows of a table, and its name for messages; `at` names one row."""

    frame: pl.DataFrame
    called: str
    at: Callable[[int], str]
    has_decimal_commas: bool = False


def columns_in(preprocessing: Mapping[str, Any], path: Path | None = None) -> tuple[Column, ...]:
    """Return the columns that a network reads; none if its samples are not rows of a table."""
    if preprocessing.get("_target_") != TABLE:
        return ()
    try:
        return unpacked(preprocessing["columns"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path or 'the network'} is damaged: its columns are malformed") from error


def rows_of_file(given: str) -> NewRows:
    """Return the rows of a file; raise DataError where it is no table."""
    path = expanded(given)
    if not path.exists():
        raise DataError(f"input={shown(given)} does not exist; {shown(nearest(path))}")
    if is_saved_set(path):
        rows = together(Files({"all": saved_rows(path)}))
        return NewRows(rows.frame, shown(path), rows.at)
    if path.is_dir() or not is_table(path):
        raise DataError(
            f"input={shown(given)} is not a table: this network reads .csv, .tsv, .parquet, .arrow or .jsonl"
        )
    sheet = read_sheet(path, keeps_empty=True)
    return NewRows(sheet.frame, shown(path), sheet.at, sheet.has_decimal_commas)


def rows_given(inputs: Any) -> NewRows:
    """Return the rows that a program passes; raise DataError where they are no table."""
    if isinstance(inputs, str | os.PathLike):
        return rows_of_file(os.fspath(inputs))
    try:
        import polars as pl  # noqa: PLC0415 - only a prediction for a table pays for it
    except ModuleNotFoundError as error:
        raise lacks_package("predicting for a table", error) from error
    try:
        frame = _frame(inputs, pl)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"the rows are not a table: {reason}; {_GIVE}") from error
    frame = stripped(frame.with_columns(pl.selectors.float().fill_nan(None)))
    return NewRows(frame, "the table", lambda row: f"row {row + 1:,}")


def _frame(inputs: Any, pl: Any) -> pl.DataFrame:
    """Return what a program passes as a data frame."""
    if isinstance(inputs, pl.DataFrame):
        return inputs
    if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # pandas, whose missing values are NaN or NaT
        inputs = {str(name): inputs[name].astype(object).where(inputs[name].notna(), None).tolist() for name in inputs}
    if isinstance(inputs, Mapping):
        lists = {str(name): values.tolist() if hasattr(values, "tolist") else values for name, values in inputs.items()}
        singles = [
            name for name, values in lists.items() if isinstance(values, str) or not isinstance(values, Sequence)
        ]
        if len(singles) == len(lists):
            lists = {name: [value] for name, value in lists.items()}
        elif singles:
            raise TypeError(f"the column {singles[0]} is a single value, but others are lists")
        return pl.DataFrame(lists, strict=False)
    if isinstance(inputs, Sequence) and all(isinstance(row, Mapping) for row in inputs):
        return (
            pl.DataFrame({}) if not inputs else pl.from_dicts([dict(row) for row in inputs], infer_schema_length=None)
        )
    raise TypeError(f"cannot read a {type(inputs).__name__}")


def batches_of_rows(
    rows: NewRows, columns: Sequence[Column], batch_size: int, *, takes_given: bool
) -> Generator[Samples, None, None]:
    """Yield rows in batches, coded, or with `takes_given` as columns by name; the id of a row is its name."""
    if not rows.frame.height:
        return
    cells = cells_read(rows.frame, columns, rows.called, rows.at, has_decimal_commas=rows.has_decimal_commas)
    names = [column.name for column in columns]
    inputs = given_cells(rows.frame, cells).tree(names) if takes_given else coded(cells, columns)
    ids = ids_of(rows.frame, columns)
    total = num_samples(inputs)
    for start in range(0, total, batch_size):
        end = min(start + batch_size, total)
        numbers = list(range(start + 1, end + 1))
        called = list(map(str, numbers)) if ids is None else ids[1][start:end]
        yield Samples(called, numbers, samples_of(inputs, slice(start, end)))


def title_of_ids(rows: NewRows, columns: Sequence[Column]) -> str:
    """Return the title of the column that names the rows, or `row`, if they are numbered."""
    ids = ids_of(rows.frame, columns)
    return "row" if ids is None else ids[0]
