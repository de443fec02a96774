"""The rows of all files of a table, one below the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.components.data.table.files import Files
from nnrun.components.data.table.reader import Sheet, read_sheet

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Rows:
    """The rows of the files of a table: `parts` has the part of each file, `starts` the first row."""

    frame: pl.DataFrame
    sheets: Sequence[Sheet]
    parts: Sequence[str]
    starts: Sequence[int]
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The first file."""
        return self.sheets[0].path

    @property
    def has_decimal_commas(self) -> bool:
        """Whether a comma in a number is probably decimal."""
        return any(sheet.has_decimal_commas for sheet in self.sheets)

    def at(self, row: int) -> str:
        """Return the file and the line of a row, for messages."""
        place = bisect_right(self.starts, row) - 1
        return self.sheets[place].at(row - self.starts[place])

    def of_parts(self) -> dict[str, range]:
        """Return the rows of each part that has files of its own."""
        found: dict[str, range] = {}
        for part, start, sheet in zip(self.parts, self.starts, self.sheets, strict=True):
            first = found[part].start if part in found else start
            found[part] = range(first, start + sheet.frame.height)
        return found


def together(files: Files) -> Rows:
    """Read the files of a table; raise DataError where one lacks a column of the training part, or else of the first.

    Columns that only other parts have are left out, and noted.
    """
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    ordered = sorted(files.parts.items(), key=lambda item: item[0] != "train")
    parts = [part for part, paths in ordered for _ in paths]
    sheets = [read_sheet(path) for _, paths in ordered for path in paths]
    first = sheets[0]
    starts, frames, height, notes = [], [], 0, list(files.notes)
    for sheet in sheets:
        if more := [shown(title) for title in sheet.frame.columns if title not in first.frame.columns]:
            notes.append(
                f"left out of {shown(sheet.path.name)}: {few(more)}, which {shown(first.path.name)} does not have"
            )
        for title in first.frame.columns:
            if title not in sheet.frame.columns:
                hint = (
                    did_you_mean(title, sheet.frame.columns) or f"it has {few(list(map(shown, sheet.frame.columns)))}"
                )
                raise DataError(
                    f"{shown(sheet.path)} has no column {shown(title)}, which {shown(first.path)} has; {hint}"
                )
        if sheet.num_empty:
            notes.append(
                f"left out {counted(sheet.num_empty, 'row')} of {shown(sheet.path.name)} without a filled cell"
            )
        starts.append(height)
        height += sheet.frame.height
        frames.append(sheet.frame.select(first.frame.columns))
    try:
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        names = few([shown(sheet.path) for sheet in sheets])
        raise DataError(f"{names} have columns of different types: {str(error).splitlines()[0]}") from error
    return Rows(frame, sheets, parts, starts, tuple(notes))


def with_targets(rows: Rows, targets: Sequence[str]) -> Rows:
    """Return the rows without the files for validation or test that have no target in any row, and a note on these."""
    import polars as pl  # noqa: PLC0415 - as above

    kept, notes = {}, list(rows.notes)
    for part, where in rows.of_parts().items():
        of_part = rows.frame[where.start : where.stop]
        if part in ("valid", "test") and of_part.select(pl.all_horizontal(pl.col(targets).is_null().all())).item():
            what = f"none of its {counted(len(where), 'row')} has a value of {few(list(map(shown, targets)))}"
            notes.append(f"left out the split {part}: {what}; predict them with input=FILE ckpt=RUN")
        else:
            kept[part] = of_part
    if not kept or len(notes) == len(rows.notes):
        return rows
    places = [place for place, part in enumerate(rows.parts) if part in kept]
    sheets = [rows.sheets[place] for place in places]
    starts = [0, *accumulate(sheet.frame.height for sheet in sheets)][:-1]
    return Rows(pl.concat(kept.values()), sheets, [rows.parts[place] for place in places], starts, tuple(notes))
