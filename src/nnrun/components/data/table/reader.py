"""Read the files of a table: CSV, TSV, Parquet, Arrow, JSON lines, also compressed by gzip."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import shown
from nnrun.base.streams import NativeErrorsDiscarded
from nnrun.components.data.hub_sets import features_beside, features_in
from nnrun.components.data.opened_images import reading
from nnrun.components.data.table.csv_reader import blank_lines, check_width, csv_frame, csv_rows, is_filled, text_in
from nnrun.components.data.table.named_classes import with_names

if TYPE_CHECKING:
    import polars as pl

# What reads a file, by the end of its name.
KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "text"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".jsonl", ".ndjson"), "json"),
}
ZIPPED = ".gz"
# More columns than this are not a table but something else.
_MOST_COLUMNS = 20_000
# What the values of JSON are called, by their type in Python; all others are numbers.
_KINDS_OF_JSON = {bool: "boolean", str: "text", list: "list", dict: "nested object"}


@dataclass(frozen=True)
class Sheet:
    """The rows of one file; cells of text files are text, without spaces around them, and null where empty.

    `has_decimal_commas` says that a comma in a number is probably decimal: it does not separate the columns. Rows of a
    text file whose cells are all empty are left out, `num_empty` of them, unless it `keeps_empty` ones.
    """

    path: Path
    frame: pl.DataFrame
    has_decimal_commas: bool = False
    keeps_empty: bool = False
    num_empty: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The titles of columns of which the file lists the classes that a cell can name."""
        import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

        return tuple(title for title, kind in self.frame.schema.items() if isinstance(kind, pl.Enum))

    def at(self, row: int) -> str:
        """Return the file and the line, or else the row, for messages; a text file is read again."""
        if kind_of(self.path) == "text":
            rows = csv_rows(self.path, text_in(self.path, _bytes(self.path)))
            kept = (line for line, cells in rows if self.keeps_empty or is_filled(cells))
            if (found := next(islice(kept, row + 1, None), None)) is not None:
                return f"{shown(self.path)}, line {found:,}"
        if kind_of(self.path) == "json":
            lines = text_in(self.path, _bytes(self.path)).split("\n")
            filled = (number for number, line in enumerate(lines, 1) if line.strip())
            if (found := next(islice(filled, row, None), None)) is not None:
                return f"{shown(self.path)}, line {found:,}"
        return f"{shown(self.path)}, row {row + 1:,}"


def read_sheet(path: Path, *, strips: bool = True, keeps_empty: bool = False) -> Sheet:
    """Return the rows of a file; raise DataError that names the file and the line where it is not a table.

    Without `strips`, cells of Parquet and Arrow stay as they are. `keeps_empty` keeps rows without a filled cell.
    """
    try:
        import polars as pl  # noqa: PLC0415 - only a run on a table pays for it
    except ModuleNotFoundError as error:
        raise lacks_package("data=table", error) from error

    kind, has_commas, num_empty = kind_of(path), False, 0
    with reading(path):
        check_is_file(path)
        if kind == "text":
            text = text_in(path, _bytes(path))
            frame, has_commas = csv_frame(path, text, _MOST_COLUMNS)
            frame, num_empty = _without_empty(path, text, stripped(frame), keeps_empty=keeps_empty)
        elif kind == "json":
            frame = _read_json(path)
        else:
            with NativeErrorsDiscarded():
                frame = _read_binary(path, kind)
        check_width(path, frame.width, _MOST_COLUMNS)
        if kind != "text" and strips:
            frame = stripped(frame.with_columns(pl.selectors.float().fill_nan(None)))
    if not frame.height:
        raise DataError(f"{shown(path)} has a header line but no rows" if frame.width else f"{shown(path)} is empty")
    return Sheet(path, frame, has_commas, keeps_empty, num_empty)


def _without_empty(path: Path, text: str, frame: pl.DataFrame, *, keeps_empty: bool) -> tuple[pl.DataFrame, int]:
    """Return rows without those of blank lines, and, unless they are kept, empty ones; and the number of these."""
    import polars as pl  # noqa: PLC0415 - as above

    is_empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not is_empty.any():
        return frame.filter(~is_empty), 0
    is_blank = pl.Series(blank_lines(path, text, frame.height), dtype=pl.Boolean)
    return frame.filter(~(is_blank if keeps_empty else is_empty)), int((is_empty & ~is_blank).sum())


def _read_binary(path: Path, kind: str | None) -> pl.DataFrame:
    """Return the rows of a file of Parquet or Arrow; numbers that stand for classes become their names."""
    import polars as pl  # noqa: PLC0415 - as above

    content = _bytes(path)
    if kind == "parquet":
        frame = pl.read_parquet(io.BytesIO(content))
        return with_names(frame, features_in(pl.read_parquet_metadata(io.BytesIO(content))), path)
    # A file of Arrow begins with its name; a stream, as Hugging Face's `save_to_disk` writes, does not.
    of_arrow = pl.read_ipc if content.startswith(b"ARROW1") else pl.read_ipc_stream
    return with_names(of_arrow(io.BytesIO(content)), features_beside(path), path)


def is_table(path: Path) -> bool:
    """Return whether a file has the name of a table."""
    return kind_of(path) is not None


def kind_of(path: Path) -> str | None:
    """Return what reads a file; None where it is no table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] == ZIPPED:
        suffixes.pop()
    return KINDS.get(suffixes[-1]) if suffixes else None


def _bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed."""
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """Return cells of text without spaces around them, and null where nothing is left."""
    import polars as pl  # noqa: PLC0415 - as above

    return frame.with_columns(pl.selectors.string().str.strip_chars().replace("", None))


def _read_json(path: Path) -> pl.DataFrame:
    """Return the rows of a file of JSON lines; raise DataError that names the line that is none."""
    import polars as pl  # noqa: PLC0415 - as above

    text = text_in(path, _bytes(path))
    try:
        return pl.read_ndjson(text.encode(), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        _check_lines(path, text, error)
        raise


def _check_lines(path: Path, text: str, error: Exception) -> None:
    """Raise DataError for the first line that is no JSON object, or has another kind of value than one before it."""
    first: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{shown(path)}, line {number:,} is not a JSON object: {line[:60]!r}") from error
        for title, value in row.items():
            if value is None:
                continue
            kind = _KINDS_OF_JSON.get(type(value), "number")
            earlier, at = first.setdefault(title, (kind, number))
            if kind != earlier:
                raise DataError(
                    f"{shown(path)}, line {number:,}: the column {shown(title)} has a {kind} where line {at:,} has a "
                    f"{earlier}; write one kind of value in all rows"
                ) from error
