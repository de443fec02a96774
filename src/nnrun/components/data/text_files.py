"""Texts as they are stored: a row of a CSV file or of JSON lines each, or a file each in class folders."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.components.data.csv_table import FOR_EXCEL, Table, checked_titles, csv_fault, decoded, delimiter_of
from nnrun.components.data.hub_sets import COLUMN_SUFFIXES
from nnrun.components.data.layout import same_name
from nnrun.components.data.opened_images import reading

if TYPE_CHECKING:
    import polars as pl

CSV_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".jsonl", ".ndjson")
TEXT_SUFFIX = ".txt"
# The usual titles of the column with the text.
TEXT_TITLES = ("text", "review", "sentence", "content", "body", "comment", "message", "document")
# A longer cell is nearly always a quote that is never closed.
MAX_CHARACTERS = 2**24
_MOST_NAMED = 5


@dataclass(frozen=True)
class Rows:
    """The rows of a file, cell by cell as texts, and the line in which each begins, or the number of each row.

    `classes` are the titles of columns of which the file says that a cell names one of several classes,
    `images` those of images, which are left out.
    """

    path: Path
    titles: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]
    place: str = "line"
    classes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return the rows as a table of targets, whose cells are stripped."""
        rows = [[same_name(cell.strip()) for cell in row] for row in self.cells]
        return Table(self.path, self.titles, rows, self.lines, has_decimal_commas=False)

    def at(self, row: int) -> str:
        """Return the file and the line or row, for messages."""
        return f"{shown(self.path)}, {self.place} {self.lines[row]:,}"


def holds_rows(path: Path) -> bool:
    """Return whether a file has a sample in each row, by its name: CSV, TSV or JSON lines, perhaps compressed, Parquet
    or Arrow.
    """
    return _suffix(path) in (*CSV_SUFFIXES, *JSON_SUFFIXES, *COLUMN_SUFFIXES)


def read_rows(path: Path) -> Rows:
    """Return the rows of a file; raise DataError that names the wrong line."""
    if _suffix(path) in COLUMN_SUFFIXES:
        return _columns(path)
    with reading(path):
        check_is_file(path)
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    text = decoded(path, content)
    if not text.strip():
        raise DataError(f"{shown(path)} is empty")
    return _json_rows(path, text) if _suffix(path) in JSON_SUFFIXES else _csv_rows(path, text)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without the one that follows a last line break."""
    with reading(path):
        check_is_file(path)
        content = path.read_bytes()
    lines = decoded(path, content).replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    _check_lengths(path, lines, list(range(1, len(lines) + 1)))
    return lines


def read_text(path: Path) -> str:
    """Return the content of a text file."""
    with reading(path):
        check_is_file(path)
        content = path.read_bytes()
    text = decoded(path, content)
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"{shown(path)} has {len(text):,} characters; a text may have {MAX_CHARACTERS:,}")
    return text


def column_of(rows: Rows, wanted: str, key: str) -> int:
    """Return the column with a title; raise DataError that names the setting `key` and the titles there are."""
    titles = [same_name(title) for title in rows.titles]
    if same_name(wanted) not in titles:
        raise DataError(f"{key}={shown(wanted)} is not a column of {shown(rows.path)}; it has {few(titles, 8)}")
    return titles.index(same_name(wanted))


def _suffix(path: Path) -> str:
    """Return the suffix of a file's name, without that of its compression, in lower case."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _csv_rows(path: Path, text: str) -> Rows:
    """Return the rows of a CSV file with a header line."""
    told = FOR_EXCEL.match(text)
    skipped, text = (1, text[told.end() :]) if told else (0, text)
    first = next(iter(text.lstrip().splitlines()), "")
    delimiter = told[1] if told else "\t" if _suffix(path) == ".tsv" else delimiter_of(first, "|")
    csv.field_size_limit(MAX_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    titles: tuple[str, ...] | None = None
    cells: list[list[str]] = []
    lines: list[int] = []
    wrong: list[str] = []
    start = skipped + 1
    try:
        for row in reader:
            line, start = start, skipped + reader.line_num + 1
            if not any(map(str.strip, row)):
                continue
            if titles is None:
                titles = tuple(checked_titles(path, [title.strip() for title in row]))
                continue
            if len(row) != len(titles):
                wrong.append(
                    f"{shown(path)}, line {line:,} has {counted(len(row), 'cell')}, but the header has {len(titles)}"
                )
            cells.append(row)
            lines.append(line)
    except csv.Error as error:
        if "field larger" in str(error):
            raise DataError(
                f"{shown(path)}, line {start:,}: a cell has more than {MAX_CHARACTERS:,} characters; perhaps a quote "
                "is not closed"
            ) from error
        raise csv_fault(path, start, skipped + reader.line_num, error) from error
    _complain(wrong)
    if titles is None or not cells:
        raise DataError(f"{shown(path)} has a header line but no samples")
    return Rows(path, titles, cells, lines)


def _json_rows(path: Path, text: str) -> Rows:
    """Return the rows of a file with a JSON object in each line."""
    found: list[dict[str, str]] = []
    lines: list[int] = []
    wrong: list[str] = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except RecursionError:
            wrong.append(f"{shown(path)}, line {line:,} is not JSON: nested too deeply")
            continue
        except ValueError as error:  # a number of thousands of digits is none of JSON's own errors
            wrong.append(f"{shown(path)}, line {line:,} is not JSON: {getattr(error, 'msg', 'a number is too long')}")
            continue
        if not isinstance(row, dict):
            wrong.append(f'{shown(path)}, line {line:,} is not a JSON object, such as {{"text": "..."}}')
            continue
        try:
            found.append({name: _cell(value) for name, value in row.items()})
        except TypeError as error:
            wrong.append(f"{shown(path)}, line {line:,}: {error}")
            continue
        lines.append(line)
    _complain(wrong)
    titles = tuple(dict.fromkeys(name for row in found for name in row))
    cells = [[row.get(title, "") for title in titles] for row in found]
    for row, line in zip(cells, lines, strict=True):
        _check_lengths(path, row, [line] * len(row))
    return Rows(path, titles, cells, lines)


def _columns(path: Path) -> Rows:
    """Return the rows of a file of Parquet or Arrow, without columns that no cell of text can hold."""
    from nnrun.components.data.table.reader import read_sheet  # noqa: PLC0415 - other files need no reader of tables

    sheet = read_sheet(path, strips=False)
    return rows_of(path, sheet.frame, sheet.classes)


def rows_of(path: Path, frame: pl.DataFrame, classes: tuple[str, ...]) -> Rows:
    """Return the rows of a data frame, without columns that no cell of text can hold."""
    from nnrun.components.data.table.image_columns import is_of_images  # noqa: PLC0415 - as above

    columns, titles = [], []
    for title in frame.columns:
        try:
            columns.append([_cell(value) for value in frame[title].to_list()])
        except TypeError:
            continue
        titles.append(title)
    images = tuple(title for title, kind in frame.schema.items() if is_of_images(kind))
    lines = list(range(1, frame.height + 1))
    for column in columns:
        _check_lengths(path, column, lines, "row")
    return Rows(path, tuple(titles), [list(row) for row in zip(*columns, strict=True)], lines, "row", classes, images)


def _cell(value: Any) -> str:
    """Return a value of a JSON object, or of a column, as a cell; a list of names as these, separated by semicolons."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ";".join(value)
    if isinstance(value, str | int | float | date | time):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is not a text, a number or a list of labels")


def _check_lengths(path: Path, texts: Sequence[str], lines: Sequence[int], place: str = "line") -> None:
    """Raise DataError where a text is longer than any that is meant."""
    for text, line in zip(texts, lines, strict=True):
        if len(text) > MAX_CHARACTERS:
            raise DataError(
                f"{shown(path)}, {place} {line:,}: a text has {len(text):,} characters; allowed: {MAX_CHARACTERS:,}"
            )


def _complain(wrong: Sequence[str]) -> None:
    """Raise DataError with the first wrong lines, if there are any."""
    if wrong:
        more = [f"and {counted(len(wrong) - _MOST_NAMED, 'more line')}"] if len(wrong) > _MOST_NAMED else []
        raise DataError(*wrong[:_MOST_NAMED], *more)
