"""Numbers as people write them in text: with separators of thousands, decimal commas, a percent sign or a currency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# How numbers are written besides plainly: the name, the pattern of each, and what is replaced.
_WRITTEN = {
    "1,234.5": (r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$|^[+-]?\d+(\.\d+)?$", ((",", ""),)),
    "1.234,5": (r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$|^[+-]?\d+(,\d+)?$", ((".", ""), (",", "."))),
    "1 234,5": (
        r"^[+-]?\d{1,3}([ \u00a0\u202f']\d{3})*([.,]\d+)?$",
        ((" ", ""), ("\u00a0", ""), ("\u202f", ""), ("'", ""), (",", ".")),
    ),
}
# The name of plain ones beside a sign.
_PLAIN = "12.5"
# What a number may have before or behind it in each cell: a percent sign, a symbol, a code or an abbreviation of a
# currency.
_SIGN = (
    r"(?:[%\u2030]|[A-Z]{0,3}\p{Sc}|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB"
    r"|SEK|SGD|TRY|USD|ZAR|kr\.?|z\u0142|K\u010d|Ft)"
)
_SPACE = r"[ \u00a0\u202f]*"
_BEFORE = rf"^([+-]?){_SPACE}({_SIGN}){_SPACE}([+-]?\d.*)$"
_BEHIND = rf"^([+-]?\d.*?){_SPACE}({_SIGN})$"
# How a cell begins that is a number in one of these ways.
_BEGINS_A_NUMBER = r"^[+-]?\d"
# From this share of numbers on, those with different signs are not taken for words without a note.
_MOSTLY = 0.9


@dataclass(frozen=True)
class Numbers:
    """Cells of text as numbers, null where one is none, and how they are written: empty if plainly.

    `signs` are those of a column that has several, or not one in each cell, in words: its numbers may be of different
    units.
    """

    values: pl.Series
    written: str = ""
    signs: str = ""


def plain_numbers(series: pl.Series) -> pl.Series:
    """Return text as numbers, null where it is none."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    return series.cast(pl.Float64, strict=False).fill_nan(None)


def best_numbers(series: pl.Series, has_decimal_commas: bool) -> Numbers:
    """Return text as numbers, written in the way that most cells are."""
    plain = plain_numbers(series)
    others = series.filter(plain.is_null() & series.is_not_null()).unique()
    best = _unsigned(series, plain, others, has_decimal_commas)
    signs = _signs(others)
    if not signs:
        return best
    each = [_signed(series, sign, has_decimal_commas) for sign in signs]
    num_signed, num_bare = sum(of.values.count() for of in each), best.values.count()
    found = max([best, *each], key=lambda of: of.values.count())
    if (len(signs) == 1 and not num_bare) or num_signed + num_bare < _MOSTLY * series.count():
        return found
    return Numbers(found.values, found.written, " and ".join([*signs[:3], *(["no sign"] if num_bare else [])]))


def numbers_written(series: pl.Series, written: str) -> Numbers | None:
    """Return text as numbers, all written in one way, or all so without its sign; None if a cell is not.

    `written` is the name that `best_numbers` gives.
    """
    way, sign = _way_of(written), sign_of(written)
    if not way:  # of a file that somebody else wrote
        return None
    for values in ([_without_sign(series, sign)] if sign else []) + [series]:
        found = plain_numbers(values) if way == _PLAIN else _in_way(values, way)
        if found.count() == series.count():
            return Numbers(found, written)
    return None


def sign_of(written: str) -> str:
    """Return the sign that stands beside numbers that are written in a way; empty if there is none."""
    way = _way_of(written)
    return written.replace(way, "").strip() if way else ""


def _way_of(written: str) -> str:
    """Return the way in which numbers are written, without their sign."""
    return next((way for way in (*_WRITTEN, _PLAIN) if way in written), "")


def _unsigned(series: pl.Series, plain: pl.Series, others: pl.Series, has_decimal_commas: bool) -> Numbers:
    """Return text as numbers without a sign; `others` are the cells that are not `plain`."""
    found = [Numbers(plain)]
    # Each way takes as long as all else: a column of words needs none.
    if bool(others.str.contains(_BEGINS_A_NUMBER).any()):
        ways = sorted(_WRITTEN, key=lambda way: has_decimal_commas and way == "1,234.5")
        found += [Numbers(_in_way(series, way), way) for way in ways]
    return max(found, key=lambda of: of.values.count())


def _in_way(series: pl.Series, way: str) -> pl.Series:
    """Return text as numbers written in one of the ways of _WRITTEN, null where a cell is not."""
    import polars as pl  # noqa: PLC0415 - as above

    pattern, replaced = _WRITTEN[way]
    fitting = series.set(~series.str.contains(pattern).fill_null(False), None)
    for old, new in replaced:
        fitting = fitting.str.replace_all(old, new, literal=True)
    return fitting.cast(pl.Float64, strict=False)


def _signs(others: pl.Series) -> list[str]:
    """Return the different signs that stand beside a number, in order."""
    found = [others.str.extract(pattern, 2).drop_nulls().unique() for pattern in (_BEFORE, _BEHIND)]
    return sorted({sign for signs in found for sign in signs})


def _signed(series: pl.Series, sign: str, has_decimal_commas: bool) -> Numbers:
    """Return text as numbers with a sign, null where a cell does not have it."""
    bare = _without_sign(series, sign)
    plain = plain_numbers(bare)
    others = bare.filter(plain.is_null() & bare.is_not_null()).unique()
    best = _unsigned(bare, plain, others, has_decimal_commas)
    way = best.written or _PLAIN
    is_before = bool(series.drop_nulls().head(1).str.contains(rf"^[+-]?{_SPACE}{re.escape(sign)}").any())
    gap = " " if sign[0].isalpha() else ""
    return Numbers(best.values, f"{sign}{gap}{way}" if is_before else f"{way}{gap}{sign}")


def _without_sign(series: pl.Series, sign: str) -> pl.Series:
    """Return the cells that have a sign, without it; null where a cell does not have it."""
    before = _BEFORE.replace(_SIGN, re.escape(sign))
    behind = _BEHIND.replace(_SIGN, re.escape(sign))
    return (
        (series.str.extract(before, 1) + series.str.extract(before, 3)).fill_null(series.str.extract(behind, 1))
    ).alias(series.name)
