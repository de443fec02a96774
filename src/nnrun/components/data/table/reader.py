"""Read the files of a table: CSV, TSV, Parquet, Arrow, JSON lines, also compressed by gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.components.data.csv_table import FOR_EXCEL, decoded, delimiter_of
from nnrun.components.data.hub_sets import features_beside, features_in
from nnrun.components.data.images import reading
from nnrun.components.data.layout import same_name
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
_MOST_NAMED = 5


@dataclass(frozen=True)
class Sheet:
    """The rows of one file; cells of text files are text, without spaces around them, and null where empty.

    `has_decimal_commas` says that a comma in a number is probably decimal: it does not separate the columns.
    """

    path: Path
    frame: pl.DataFrame
    has_decimal_commas: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The titles of columns of which the file lists the classes that a cell can name."""
        import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

        return tuple(title for title, kind in self.frame.schema.items() if isinstance(kind, pl.Enum))

    def at(self, row: int) -> str:
        """Return the file and the line, or else the row, for messages; a text file is read again."""
        if kind_of(self.path) == "text":
            lines = (line for line, cells in _lines(self.path, _text(self.path)) if any(map(str.strip, cells)))
            next(lines, None)
            for number, line in enumerate(lines):
                if number == row:
                    return f"{shown(self.path)}, line {line:,}"
        if kind_of(self.path) == "json":
            return f"{shown(self.path)}, line {row + 1:,}"
        return f"{shown(self.path)}, row {row + 1:,}"


def read_sheet(path: Path, *, strips: bool = True) -> Sheet:
    """Return the rows of a file; raise DataError that names the file and the line where it is not a table.

    Without `strips`, cells of Parquet and Arrow stay as they are.
    """
    try:
        import polars as pl  # noqa: PLC0415 - only a run on a table pays for it
    except ModuleNotFoundError as error:
        raise lacks_package("data=table", error) from error

    kind, has_commas = kind_of(path), False
    with reading(path):
        check_is_file(path)
        if kind == "text":
            frame, has_commas = _read_text(path)
        elif kind == "json":
            frame = _read_json(path)
        else:
            frame = _read_binary(path, kind)
        if kind != "text" and strips:
            frame = stripped(frame.with_columns(pl.selectors.float().fill_nan(None)))
    if frame.width > _MOST_COLUMNS:
        raise DataError(f"{shown(path)} has {frame.width:,} columns; at most {_MOST_COLUMNS:,} are read: remove some")
    if not frame.height:
        raise DataError(f"{shown(path)} has a header line but no rows" if frame.width else f"{shown(path)} is empty")
    return Sheet(path, frame, has_commas)


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


def _text(path: Path) -> str:
    """Return the text of a file; raise DataError that names the line where it is none."""
    text = decoded(path, _bytes(path))
    csv.field_size_limit(2**31 - 1)  # a long header is one cell to a reader that looks for another delimiter
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{shown(path)}, line {line:,} has a NUL byte: the file is damaged, or not a text file")
    return text


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row of a text, the header first, with the line where it begins."""
    told = FOR_EXCEL.match(text)
    start, delimiter = (1, told[1]) if told else (0, _delimiter(path, text))
    reader = csv.reader(io.StringIO(text[told.end() if told else 0 :], newline=""), delimiter=delimiter, strict=True)
    line = start + 1
    try:
        for cells in reader:
            yield line, cells
            line = start + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown(path)}, line {start + reader.line_num:,}: {error}") from error


def _delimiter(path: Path, text: str) -> str:
    """Return what separates the columns: a tab in a TSV, else what divides the first line into the most cells."""
    is_tabbed = path.name.lower().removesuffix(ZIPPED).endswith((".tsv", ".tab"))
    return "\t" if is_tabbed else delimiter_of(next(iter(text.lstrip().splitlines()), ""))


def _read_text(path: Path) -> tuple[pl.DataFrame, bool]:
    """Return the cells of a text file as text, and whether commas may be decimal."""
    import polars as pl  # noqa: PLC0415 - as above

    text = _text(path)
    if not text.strip():
        raise DataError(f"{shown(path)} is empty")
    told = FOR_EXCEL.match(text)
    delimiter = told[1] if told else _delimiter(path, text)
    titles = _titles(path, next(cells for _, cells in _lines(path, text) if any(map(str.strip, cells))))
    text = text[told.end() if told else 0 :].lstrip("\r\n ")
    frame: pl.DataFrame | None = None
    if len(titles) <= _MOST_COLUMNS:
        try:
            frame = pl.read_csv(
                text.encode(), separator=delimiter, infer_schema=False, new_columns=titles, raise_if_empty=False
            )
        except pl.exceptions.PolarsError:
            _find_fault(path, len(titles))
            raise
        if frame.width != len(titles) or _may_be_ragged(frame, text, delimiter):
            _find_fault(path, len(titles))
        frame = stripped(frame)
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return pl.DataFrame({title: [None] for title in titles}) if frame is None else frame, delimiter not in ",\t"


def stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """Return cells of text without spaces around them, and null where nothing is left."""
    import polars as pl  # noqa: PLC0415 - as above

    return frame.with_columns(pl.selectors.string().str.strip_chars().replace("", None))


def _titles(path: Path, cells: list[str]) -> list[str]:
    """Return the titles of the columns; one without a title gets a number."""
    titles = [same_name(cell.strip()) or f"column_{place}" for place, cell in enumerate(cells, 1)]
    twice = [title for title, count in Counter(titles).items() if count > 1]
    if twice:
        raise DataError(f"{shown(path)}, line 1 has two columns with the title {shown(twice[0])}; rename one")
    return titles


def _may_be_ragged(frame: pl.DataFrame, text: str, delimiter: str) -> bool:
    """Return whether a row may have fewer cells than the header: polars fills it up."""
    if not frame.to_series(frame.width - 1).null_count():
        return False
    is_plain = '"' not in text
    return not is_plain or text.count(delimiter) != (frame.height + 1) * (frame.width - 1)


def _find_fault(path: Path, width: int) -> None:
    """Raise DataError that names the first lines with another number of cells than the header, if there are some."""
    wrong = []
    for line, cells in _lines(path, _text(path)):
        if len(cells) != width and any(map(str.strip, cells)):
            wrong.append(
                f"{shown(path)}, line {line:,} has {counted(len(cells), 'cell')}, but the header has {width:,}"
            )
    if wrong:
        more = [f"and {counted(len(wrong) - _MOST_NAMED, 'more line')}"] if len(wrong) > _MOST_NAMED else []
        raise DataError(*wrong[:_MOST_NAMED], *more)


def _read_json(path: Path) -> pl.DataFrame:
    """Return the rows of a file of JSON lines; raise DataError that names the line that is none."""
    import polars as pl  # noqa: PLC0415 - as above

    text = _text(path)
    try:
        return pl.read_ndjson(text.encode(), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                is_object = not line.strip() or isinstance(json.loads(line), dict)
            except ValueError:
                is_object = False
            if not is_object:
                raise DataError(f"{shown(path)}, line {number:,} is not a JSON object: {line[:60]!r}") from error
        raise
