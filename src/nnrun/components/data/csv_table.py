"""A CSV file as people write it: with any of the usual delimiters, quotes and line endings, with or without a header;
or a plain list of paths and labels separated by a space.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.components.data.finding import has_image_suffix
from nnrun.components.data.layout import same_name
from nnrun.components.data.opened_images import reading

_DELIMITERS = (",", ";", "\t")
# Column titles for a file without a header.
FILE_TITLE, LABEL_TITLE = "file", "label"
# Files with these suffixes have no header, unless their first line contains one of FILE_TITLES.
_LIST_SUFFIXES = (".txt", ".lst", ".list")
FILE_TITLES = ("file", "filename", "file_name", "path", "image", "img", "id", "image_id", "name")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# A line that tells a spreadsheet the delimiter.
FOR_EXCEL = re.compile(r"sep=([^\r\n])\r?\n", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
# The largest float32.
_LARGEST = 3.4028234663852886e38
# Maximum number of wrong lines that an error names.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file, with stripped cells, and the line of the file in which each row begins.

    `has_decimal_commas` says whether commas in numbers are decimal, `has_titles` whether the file has a header. For a
    table made of several files, `paths` are the files of the rows; `place` is what `lines` count.
    """

    path: Path
    titles: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    has_decimal_commas: bool
    has_titles: bool = True
    paths: tuple[Path, ...] = ()
    place: str = "line"

    def number(self, cell: str) -> float | None:
        """Return the number in a cell; None where it is not a finite float32."""
        if self.has_decimal_commas and DECIMAL_COMMA.fullmatch(cell):
            cell = cell.replace(",", ".")
        value = float(cell) if _NUMBER.fullmatch(cell) else math.inf
        return value if abs(value) <= _LARGEST else None

    def at(self, row: int) -> str:
        """Return the file and line of a row, for messages."""
        return f"{shown(self.paths[row] if self.paths else self.path)}, {self.place} {self.lines[row]:,}"


def read_table(path: Path) -> Table:
    """Return the table in a file; raise DataError that names the wrong line."""
    with reading(path):
        check_is_file(path)
        content = path.read_bytes()
    text = decoded(path, content)
    if not text.strip():
        raise DataError(f"{shown(path)} is empty: write a header line, such as file,labels, and a line for each image")
    first = text.lstrip().splitlines()[0]
    delimiter, num_skipped = delimiter_of(first), 0
    if told := FOR_EXCEL.match(text):
        delimiter, text, num_skipped = told[1], text[told.end() :], 1
    cells_of = _csv_lines(path, text, delimiter, num_skipped)
    if _is_list(path, first, delimiter):
        cells_of, delimiter = _listed_lines(text), " "
    titles: list[str] | None = None
    has_titles = True
    rows: list[list[str]] = []
    lines: list[int] = []
    wrong: list[str] = []
    for line, cells in cells_of:
        row = [same_name(cell.strip()) for cell in cells]
        if not any(row):
            continue
        if titles is None:
            has_titles = _are_titles(path, row)
            titles = checked_titles(path, row if has_titles else _made_up(row))
            if has_titles:
                continue
        while len(row) > len(titles) and not row[-1]:
            row.pop()
        if len(row) != len(titles):
            wrong.append(f"{shown(path)}, line {line:,} has {_cells(len(row))}, but the header has {len(titles)}")
        rows.append(row)
        lines.append(line)
    if wrong:
        more = [f"and {counted(len(wrong) - _MOST_NAMED, 'more line')}"] if len(wrong) > _MOST_NAMED else []
        raise DataError(*wrong[:_MOST_NAMED], *more)
    if not rows or titles is None:
        raise DataError(f"{shown(path)} has a header line but no samples")
    return Table(path, tuple(titles), rows, lines, delimiter not in (",", " "), has_titles)


def _csv_lines(path: Path, text: str, delimiter: str, num_skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file, with the line in which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    start = num_skipped + 1
    try:
        for cells in reader:
            yield start, cells
            start = num_skipped + reader.line_num + 1
    except csv.Error as error:
        raise csv_fault(path, start, num_skipped + reader.line_num, error) from error


def _listed_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the path, which may contain spaces, and the label, if there is one, of each line of a list."""
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        words = line.split(" ")
        # The path ends with the first image suffix; without one, the last word is the label.
        ends = [end for end in range(1, len(words)) if has_image_suffix(" ".join(words[:end]))]
        if not ends and not has_image_suffix(line) and "/" not in words[-1]:
            ends = [len(words) - 1]
        yield number, [" ".join(words[: ends[0]]), " ".join(words[ends[0] :])] if ends and ends[0] else [line]


def _is_list(path: Path, first: str, delimiter: str) -> bool:
    """Return whether a file is a list of paths and labels separated by a space, by its first line."""
    if delimiter in first:
        return False
    cells = next(_listed_lines(first))[1]
    says_image = has_image_suffix(cells[0]) or cells[0].lower() in FILE_TITLES
    return path.suffix.lower() in _LIST_SUFFIXES or (len(cells) > 1 and says_image)


def _are_titles(path: Path, row: Sequence[str]) -> bool:
    """Return whether the first row of a file is a header, not a sample."""
    if any(map(has_image_suffix, row)):
        return False
    return path.suffix.lower() not in _LIST_SUFFIXES or any(cell.lower() in FILE_TITLES for cell in row)


def _made_up(row: Sequence[str]) -> list[str]:
    """Return titles for a file without a header: the column with image names is the file, the others are targets."""
    file = next((column for column, cell in enumerate(row) if has_image_suffix(cell)), 0)
    if len(row) <= 2:
        return [FILE_TITLE if column == file else LABEL_TITLE for column in range(len(row))]
    return [FILE_TITLE if column == file else f"{LABEL_TITLE}_{column}" for column in range(len(row))]


def decoded(path: Path, content: bytes) -> str:
    """Return the text of a file, in UTF-8, or in UTF-16 with a byte order mark."""
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{shown(path)}, line {line:,} is not {encoding.removesuffix('-sig').upper()}; save the file as UTF-8"
        ) from error


def csv_fault(path: Path, start: int, line: int, error: csv.Error) -> DataError:
    """Return the error for quotes that do not match, in a row that begins in line `start` and was read to `line`."""
    if "unexpected end" in str(error):
        return DataError(f"{shown(path)}, line {start:,}: a quote that opens in this row is never closed")
    if "expected after" in str(error):
        begun = f", or close the quote that opens in line {start:,}" if start < line else ""
        return DataError(
            f"{shown(path)}, line {line:,}: text follows a closing quote; write quotes inside of a cell twice{begun}"
        )
    return DataError(f"{shown(path)}, line {line:,}: {error}")


def delimiter_of(line: str, more: Sequence[str] = ()) -> str:
    """Return the delimiter of a header line: the one, of the usual ones and `more`, that gives the most cells."""
    return max((*_DELIMITERS, *more), key=lambda one: len(next(csv.reader([line], delimiter=one))))


def checked_titles(path: Path, row: list[str]) -> list[str]:
    """Return the titles of the columns, without trailing empty ones."""
    titles = list(row)
    while titles and not titles[-1]:
        titles.pop()
    if not titles:
        raise DataError(f"{shown(path)} begins with a line of empty cells; write the titles of the columns there")
    twice = [title for title, count in Counter(titles).items() if count > 1 and title]
    if twice:
        raise DataError(f"{shown(path)} has two columns with the title {shown(twice[0])}")
    return titles


def _cells(count: int) -> str:
    """Return a number of cells in words."""
    return f"{count} cell" if count == 1 else f"{count} cells"
