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

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.files import check_is_file
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import expanded, shown
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.components.data.csv_table import FOR_EXCEL, decoded, delimiter_of
from nnrun.components.data.images import reading
from nnrun.components.data.layout import part_and_rest, same_name

if TYPE_CHECKING:
    import polars as pl

# What reads a file, by the end of its name.
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "text"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".jsonl", ".ndjson"), "json"),
}
_ZIPPED = ".gz"
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

    def at(self, row: int) -> str:
        """Return the file and the line, or else the row, for messages; a text file is read again."""
        if _kind(self.path) == "text":
            lines = (line for line, cells in _lines(self.path, _text(self.path)) if any(map(str.strip, cells)))
            next(lines, None)
            for number, line in enumerate(lines):
                if number == row:
                    return f"{shown(self.path)}, line {line:,}"
        if _kind(self.path) == "json":
            return f"{shown(self.path)}, line {row + 1:,}"
        return f"{shown(self.path)}, row {row + 1:,}"


def find_files(root: str, *, for_test: bool) -> dict[str, Path]:
    """Return the files of a table by part: `all` for a single one; raise DataError where they are not there.

    A folder holds one file, or one for each part, such as train.csv and test.csv. `for_test` allows a test file alone.
    """
    path = expanded(root).absolute()
    if not path.is_dir():
        if not path.exists():
            near = did_you_mean(
                path.name, [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
            )
            raise DataError(f"data.root={shown(root)} does not exist{near and '; ' + near}")
        if _kind(path) is None:
            raise DataError(
                f"data.root={shown(root)} is not a table: tables are {', '.join(_KINDS)}, also with {_ZIPPED}"
            )
        return {"all": path}
    files = sorted(file for file in path.iterdir() if _kind(file) and not file.name.startswith((".", "_")))
    if not files:
        raise DataError(f"data.root={shown(root)} has no table: tables are {', '.join(_KINDS)}, also with {_ZIPPED}")
    parts: dict[str, Path] = {}
    for file in files:
        part = part_and_rest(file.name.partition(".")[0])[0]
        if part in ("train", "valid", "test"):
            if part in parts:
                raise DataError(f"data.root={shown(root)} has two files for {part}: {parts[part].name} and {file.name}")
            parts[part] = file
    if "train" in parts or (for_test and "test" in parts):
        return parts
    if len(files) == 1:
        return {"all": files[0]}
    names = few([shown(file.name) for file in files])
    raise DataError(f"data.root={shown(root)} has several tables, {names}: name one, or call them train and test")


def read_sheet(path: Path) -> Sheet:
    """Return the rows of a file; raise DataError that names the file and the line where it is not a table."""
    try:
        import polars as pl  # noqa: PLC0415 - only a run on a table pays for it
    except ModuleNotFoundError as error:
        raise lacks_package("data=table", error) from error

    kind, has_commas = _kind(path), False
    with reading(path):
        check_is_file(path)
        if kind == "text":
            frame, has_commas = _read_text(path)
        elif kind == "json":
            frame = _read_json(path)
        else:
            content = _bytes(path)
            # A file of Arrow begins with its name; a stream, as Hugging Face's `save_to_disk` writes, does not.
            of_arrow = pl.read_ipc if content.startswith(b"ARROW1") else pl.read_ipc_stream
            frame = (pl.read_parquet if kind == "parquet" else of_arrow)(io.BytesIO(content))
        if kind != "text":
            frame = stripped(frame.with_columns(pl.selectors.float().fill_nan(None)))
    if frame.width > _MOST_COLUMNS:
        raise DataError(f"{shown(path)} has {frame.width:,} columns; at most {_MOST_COLUMNS:,} are read: remove some")
    if not frame.height:
        raise DataError(f"{shown(path)} has a header line but no rows" if frame.width else f"{shown(path)} is empty")
    return Sheet(path, frame, has_commas)


def is_table(path: Path) -> bool:
    """Return whether a file has the name of a table."""
    return _kind(path) is not None


def _kind(path: Path) -> str | None:
    """Return what reads a file; None where it is no table."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] == _ZIPPED:
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


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
    is_tabbed = path.name.lower().removesuffix(_ZIPPED).endswith((".tsv", ".tab"))
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
