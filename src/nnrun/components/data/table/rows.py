"""The rows of all files of a table, one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.table.reader import Sheet, read_sheet

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Rows:
    """The rows of the files of a table; `starts` has the first row of each part."""

    frame: pl.DataFrame
    sheets: Mapping[str, Sheet]
    starts: Mapping[str, int]

    @property
    def path(self) -> Path:
        """The first file."""
        return next(iter(self.sheets.values())).path

    @property
    def has_decimal_commas(self) -> bool:
        """Whether a comma in a number is probably decimal."""
        return any(sheet.has_decimal_commas for sheet in self.sheets.values())

    def at(self, row: int) -> str:
        """Return the file and the line of a row, for messages."""
        part = next(part for part in reversed(list(self.starts)) if self.starts[part] <= row)
        return self.sheets[part].at(row - self.starts[part])

    def of_parts(self) -> dict[str, range]:
        """Return the rows of each part that has a file of its own."""
        starts = [*self.starts.values(), self.frame.height]
        return {part: range(starts[place], starts[place + 1]) for place, part in enumerate(self.starts)}


def together(files: Mapping[str, Path]) -> Rows:
    """Read the files of a table; raise DataError where one lacks a column of the first."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    sheets = {part: read_sheet(path) for part, path in files.items()}
    first = next(iter(sheets.values()))
    starts, frames, height = {}, [], 0
    for part, sheet in sheets.items():
        for title in first.frame.columns:
            if title not in sheet.frame.columns:
                hint = (
                    did_you_mean(title, sheet.frame.columns) or f"it has {few(list(map(shown, sheet.frame.columns)))}"
                )
                raise DataError(
                    f"{shown(sheet.path)} has no column {shown(title)}, which {shown(first.path)} has; {hint}"
                )
        starts[part] = height
        height += sheet.frame.height
        frames.append(sheet.frame.select(first.frame.columns))
    try:
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        names = few([shown(sheet.path) for sheet in sheets.values()])
        raise DataError(f"{names} have columns of different types: {str(error).splitlines()[0]}") from error
    return Rows(frame, sheets, starts)
