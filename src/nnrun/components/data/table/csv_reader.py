"""Read a CSV file as a table of text: by polars, and by Python's csv module where quotes stand in unusual places."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.components.data.csv_table import FOR_EXCEL, csv_fault, decoded, delimiter_of
from nnrun.components.data.layout import same_name

if TYPE_CHECKING:
    import polars as pl

_MOST_NAMED = 5
# The first line that is not empty; what ends it is what `splitlines` takes for an end.
_FIRST_LINE = re.compile(r"\S[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*")


def text_in(path: Path, content: bytes) -> str:
    """Return the text of a file; raise DataError that names the line where it is none."""
    text = decoded(path, content)
    csv.field_size_limit(2**31 - 1)  # a long header is one cell to a reader that looks for another delimiter
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{shown(path)}, line {line:,} has a NUL byte: the file is damaged, or not a text file")
    return text if "\n" in text else text.replace("\r", "\n")


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row from the header on, with the line where it begins; a blank line is no row."""
    told = FOR_EXCEL.match(text)
    skipped, delimiter = (1, told[1]) if told else (0, _delimiter(path, text))
    lines = io.StringIO(text[told.end() if told else 0 :], newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    line, has_begun = skipped + 1, False
    try:
        for cells in reader:
            has_begun = has_begun or is_filled(cells)
            if has_begun and (len(cells) > 1 or is_filled(cells)):
                yield line, cells
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise csv_fault(path, line, skipped + reader.line_num, error) from error


def is_filled(cells: Sequence[str]) -> bool:
    """Return whether a row has a cell that is not empty."""
    return any(map(str.strip, cells))


def blank_lines(path: Path, text: str, height: int) -> list[bool]:
    """Return for each row of a data frame, which has a row for each blank line too, whether it is one."""
    told = FOR_EXCEL.match(text)
    reader = csv.reader(
        io.StringIO(text[told.end() if told else 0 :].lstrip("\r\n "), newline=""),
        delimiter=told[1] if told else _delimiter(path, text),
    )
    found = [len(cells) < 2 and not is_filled(cells) for cells in reader][1:]
    return found if len(found) == height else [False] * height  # read cell by cell, without blank lines


def csv_frame(path: Path, text: str, most_columns: int) -> tuple[pl.DataFrame, bool]:
    """Return the cells of a text file as text, and whether commas may be decimal.

    Raises DataError where there are more than `most_columns` columns.
    """
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    if not text.strip():
        raise DataError(f"{shown(path)} is empty")
    told = FOR_EXCEL.match(text)
    delimiter = told[1] if told else _delimiter(path, text)
    titles = _titles(path, next(csv_rows(path, text))[1])
    check_width(path, len(titles), most_columns)
    rows = text[told.end() if told else 0 :].lstrip("\r\n ")
    try:
        frame = pl.read_csv(
            rows.encode(), separator=delimiter, infer_schema=False, new_columns=titles, raise_if_empty=False
        )
        is_sure = (
            not _starts_empty(rows, delimiter) and frame.width == len(titles) and not _has_odd_quotes(rows, delimiter)
        )
        if not is_sure or _may_be_ragged(frame, rows, delimiter):
            frame = frame if is_sure and _is_even(path, text, len(titles)) else _cell_by_cell(path, text, titles)
    except pl.exceptions.PolarsError:
        frame = _cell_by_cell(path, text, titles)
    return frame, delimiter == ";"


def check_width(path: Path, width: int, most_columns: int) -> None:
    """Raise DataError where a table has too many columns: each takes time, also before its cells are looked at."""
    if width > most_columns:
        raise DataError(f"{shown(path)} has {width:,} columns; at most {most_columns:,} are read: remove some")


def _delimiter(path: Path, text: str) -> str:
    """Return what separates the columns: a tab in a TSV, else what divides the first line into the most cells."""
    is_tabbed = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
    first = _FIRST_LINE.search(text)
    return "\t" if is_tabbed else delimiter_of(first[0] if first else "", "|")


def _titles(path: Path, cells: list[str]) -> list[str]:
    """Return the titles of the columns; one without a title gets a number."""
    titles = [same_name(cell.strip()) or f"column_{place}" for place, cell in enumerate(cells, 1)]
    twice = [title for title, count in Counter(titles).items() if count > 1]
    if twice:
        raise DataError(f"{shown(path)}, line 1 has two columns with the title {shown(twice[0])}; rename one")
    return titles


def _starts_empty(text: str, delimiter: str) -> bool:
    """Return whether the first line, which polars takes for the header, has no filled cell; `""` is none."""
    return not text[: text.find("\n")].replace(delimiter, "").replace('"', "").strip()


def _has_odd_quotes(text: str, delimiter: str) -> bool:
    """Return whether quotes stand where polars takes them for a part of a cell: after a backslash, or a space."""
    is_spaced = f'{delimiter} "' in text and re.search(f'{re.escape(delimiter)} "(?!")', text) is not None
    return is_spaced or '\\"' in text


def _may_be_ragged(frame: pl.DataFrame, text: str, delimiter: str) -> bool:
    """Return whether a row may have fewer cells than the header: polars fills it up."""
    if not frame.to_series(frame.width - 1).null_count():
        return False
    is_plain = '"' not in text
    return not is_plain or text.count(delimiter) != (frame.height + 1) * (frame.width - 1)


def _is_even(path: Path, text: str, width: int) -> bool:
    """Return that each row has as many cells as the header; raise DataError that names the first ones that have not."""
    wrong = [
        f"{shown(path)}, line {line:,} has {counted(len(cells), 'cell')}, but the header has {width:,}"
        for line, cells in csv_rows(path, text)
        if len(cells) != width and is_filled(cells)
    ]
    if wrong:
        more = [f"and {counted(len(wrong) - _MOST_NAMED, 'more line')}"] if len(wrong) > _MOST_NAMED else []
        raise DataError(*wrong[:_MOST_NAMED], *more)
    return True


def _cell_by_cell(path: Path, text: str, titles: list[str]) -> pl.DataFrame:
    """Return the cells as Python's csv module reads them, which allows quotes inside of a cell, as in `5" pipe`."""
    import polars as pl  # noqa: PLC0415 - as above

    _is_even(path, text, len(titles))
    rows = (cells for _, cells in csv_rows(path, text) if len(cells) == len(titles))
    next(rows)
    return pl.DataFrame(list(rows), schema=dict.fromkeys(titles, pl.String), orient="row")
