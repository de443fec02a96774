"""What the columns of a table are, found in their cells or set, and their cells in that form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.components.data.layout import part_and_rest
from nnrun.components.data.table.image_columns import IMAGES, is_of_images
from nnrun.components.data.table.written_numbers import best_numbers, numbers_written, plain_numbers, sign_of

if TYPE_CHECKING:
    import polars as pl

# Words for an empty cell, beside none.
EMPTY = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?")
TRUE, FALSE = ("true", "yes", "t", "y", "on"), ("false", "no", "f", "n", "off")
ID_TITLE = re.compile(
    r"(^|.*[_\W])(id|uuid|guid|index|key|rownames?|row)$|.*Id$|.*ID$|^Unnamed.*|^column_1$", re.DOTALL
)
_PART_TITLES = ("split", "part", "subset", "fold", "set")
# How dates are written, the most usual first.
_DATES = (
    *("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ"),
    *("%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"),
    *("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M:%S"),
    *("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f%z"),
    *("%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m-%d-%Y", "%d-%m-%Y"),
    *("%d.%m.%y", "%m/%d/%y", "%d/%m/%y"),
)
# Two digits of a year are no year of four.
_FIRST_YEAR = 1000
# A column of which more than this is numbers is of numbers: the other cells are mistakes.
_MOSTLY = 0.9
# Rows above which a column without a value twice can be an id.
_LEAST_FOR_ID = 20
# Texts have more words than this on average, and are mostly different.
_WORDS_OF_TEXT, _DISTINCT_TEXTS = 4, 0.5


@dataclass(frozen=True)
class Cells:
    """The cells of a column in the form of its kind, null where empty, and how they are written in text.

    Numbers are Float64, dates Datetime, others String. `wrong` is the first row whose cell does not fit, if any; `why`
    says why a column is left out, and `signs` which signs its numbers have where they do not all have the same.
    """

    kind: str
    values: pl.Series
    written: str = ""
    wrong: int | None = None
    why: str = ""
    signs: str = ""


def cells_of(series: pl.Series, kind: str | None, *, has_decimal_commas: bool, written: str = "") -> Cells:
    """Return the cells of a column as `kind`, or as the kind that they show."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.Boolean:
        words = series.cast(pl.String)
        return Cells(kind or "boolean", words) if kind != "number" else _as_number(series.cast(pl.Float64), "number")
    if series.dtype.is_temporal():
        return _of_dates(series, kind)
    if series.dtype.is_numeric():
        return _of_numbers(series, kind)
    if series.dtype != pl.String:
        why = IMAGES if is_of_images(series.dtype) else f"cells of the type {series.dtype}"
        return Cells("nested", series.is_null().cast(pl.String), why=why)
    series = series.set(series.is_in(EMPTY), None)
    return _set_to(series, kind, has_decimal_commas, written) if kind else _shown_by(series, has_decimal_commas)


def _of_dates(series: pl.Series, kind: str | None) -> Cells:
    import polars as pl  # noqa: PLC0415 - as above

    if series.dtype in (pl.Date, pl.Datetime):
        moments = series.cast(pl.Datetime("us"))
        return Cells("date", moments) if kind in (None, "date") else Cells(kind or "", series.cast(pl.String))
    return _of_numbers(series.to_physical(), kind)  # times of a day and durations


def _of_numbers(series: pl.Series, kind: str | None) -> Cells:
    """Return the cells of a column that is stored as numbers."""
    import polars as pl  # noqa: PLC0415 - as above

    if kind in (None, "number"):
        values = series.cast(pl.Float64)
        if kind is None and series.dtype.is_integer() and _are_ids(series.name, values):
            return Cells("id", values.cast(pl.Int64).cast(pl.String), why="a number for each row")
        return _as_number(values, kind)
    whole = series.cast(pl.Int64, strict=False)
    is_whole = bool((whole.cast(pl.Float64) == series.cast(pl.Float64)).all())
    return Cells(kind, (whole if is_whole else series).cast(pl.String))


def _as_number(values: pl.Series, _kind: str | None) -> Cells:
    return Cells("number", values)


def _set_to(series: pl.Series, kind: str, has_decimal_commas: bool, written: str = "") -> Cells:
    """Return text as the kind that it was set to; `wrong` names a cell that does not fit.

    If all cells can be read as `written`, the way in which the training rows were, they are.
    """
    if kind == "number":
        best = (numbers_written(series, written) if written else None) or best_numbers(series, has_decimal_commas)
        wrong = _first(best.values.is_null() & series.is_not_null())
        return Cells(kind, best.values, best.written, wrong, signs=best.signs)
    if kind == "date":
        ways = sorted(_DATES, key=lambda way: way != written)
        moments, written = max((_dates(series, way) for way in ways), key=lambda found: found[0].count())
        return Cells(kind, moments, written, _first(moments.is_null() & series.is_not_null()))
    if kind == "boolean":
        words = _booleans(series)
        if words is None:
            low = series.str.to_lowercase()
            return Cells(kind, series, wrong=_first(~low.is_in([*TRUE, *FALSE, "0", "1"]) & series.is_not_null()))
        return Cells(kind, words)
    return Cells(kind, series, why={"id": "names rows or groups of them", "text": "a text"}.get(kind, ""))


def _shown_by(series: pl.Series, has_decimal_commas: bool) -> Cells:  # noqa: PLR0911 - a decision list
    """Return text as the kind that it shows."""
    num = series.count()
    if not num:
        return Cells("empty", series, why="no cell is filled")
    plain = plain_numbers(series)
    if plain.count() == num and not _are_whole(plain):  # as most columns are: the rest takes three times as long
        return Cells("number", plain)
    there = series.drop_nulls()
    distinct = there.n_unique()
    if series.name.lower() in _PART_TITLES and distinct <= 3 and _are_parts(there):
        return Cells("part", series, why="names the part of each row")
    is_code = distinct > 1 and bool(there.str.contains(r"^0\d+$").any()) and there.str.len_chars().n_unique() == 1
    best = best_numbers(series, has_decimal_commas)
    share = best.values.count() / num
    if not is_code and share == 1:
        if not sign_of(best.written) and _are_whole(best.values) and _are_ids(series.name, best.values):
            return Cells("id", series, why="a number for each row")
        return Cells("number", best.values, best.written)
    if not is_code and share >= _MOSTLY and best.values.n_unique() > _LEAST_FOR_ID:
        wrong = _first(best.values.is_null() & series.is_not_null())
        return Cells("number", best.values, best.written, wrong, signs=best.signs)
    if best.signs:
        return Cells("category", series, signs=best.signs)
    if distinct == 2 and (words := _booleans(series)) is not None:
        return Cells("boolean", words)
    for way in _DATES if bool(there.head(1).str.contains(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}").all()) else ():
        moments, written = _dates(series, way)
        if moments.count() == num:
            return Cells("date", moments, written)
    num_words = float(there.str.count_matches(r"\s+").mean() or 0) + 1  # type: ignore[arg-type]
    if num_words >= _WORDS_OF_TEXT and distinct > _DISTINCT_TEXTS * num:
        return Cells("text", series, why="long texts; data=table does not read them")
    if distinct == num and num >= _LEAST_FOR_ID:
        return Cells("id", series, why="another one in each row")
    return Cells("category", series)


def _are_parts(there: pl.Series) -> bool:
    return all(part_and_rest(str(word))[0] in ("train", "valid", "test") for word in there.unique())


def _are_ids(title: str, values: pl.Series) -> bool:
    """Return whether whole numbers are ids: all different, and either called so or counted up."""
    there = values.drop_nulls()
    if len(there) < _LEAST_FOR_ID or there.n_unique() < len(there):
        return False
    is_counted = bool((there.diff().drop_nulls() == 1).all()) and there[0] in (0, 1)
    return is_counted or ID_TITLE.fullmatch(title) is not None


def _are_whole(values: pl.Series) -> bool:
    """Return whether all numbers are whole."""
    there = values.drop_nulls()
    return bool((there.floor() == there).all())


def _dates(series: pl.Series, way: str) -> tuple[pl.Series, str]:
    """Return text as moments, in UTC where it has a time zone, null where a cell is not written in this way."""
    moments = series.str.to_datetime(way, strict=False, time_unit="us").dt.replace_time_zone(None)
    return moments.set((moments.dt.year() < _FIRST_YEAR).fill_null(False), None), way


def _booleans(series: pl.Series) -> pl.Series | None:
    """Return the words for true and false as `true` and `false`; None where there are others."""
    low = series.str.to_lowercase()
    if not bool(low.drop_nulls().is_in([*TRUE, *FALSE]).all()):
        return None
    import polars as pl  # noqa: PLC0415 - as above

    return low.is_in(TRUE).cast(pl.String).set(series.is_null(), None)


def _first(wrong: pl.Series) -> int | None:
    """Return the first row for which a column says true."""
    places = wrong.arg_true()
    return int(places[0]) if len(places) else None
