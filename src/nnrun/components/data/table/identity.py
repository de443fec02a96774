"""The identity of a row: a hash of its cells, by which it is held out, whatever the order of rows and columns."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

_FACTORS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_EMPTY = np.uint64(0x9E3779B97F4A7C15)
# If fewer of the rows than this differ, as with a few columns of categories, equal rows are different samples.
_LEAST_DISTINCT = 0.5


def row_hashes(frame: pl.DataFrame) -> np.ndarray:
    """Return a hash of each row, int64 `(N,)`.

    It depends on the titles and the values of the columns, not on their order; a number is the same in text, `1.50`,
    and as a number.
    """
    total = np.zeros(frame.height, np.uint64)
    with np.errstate(over="ignore"):
        for series in frame.get_columns():
            total += _mixed(_cell_hashes(series) ^ _word(series.name))
    return _mixed(total).view(np.int64)


def sample_hashes(frame: pl.DataFrame) -> np.ndarray:
    """Return a number for each row, int64 `(N,)`, by which it is held out, and recognized in another split.

    It is the same for equal rows. But if most rows of the table have an equal one, they are different samples: then
    the first of equal rows has the hash of its cells, and the others numbers of their own.
    """
    hashes = row_hashes(frame)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    if is_first.sum() >= len(hashes) * _LEAST_DISTINCT:
        return hashes
    place = np.arange(len(ordered))
    before = np.empty(len(ordered), np.uint64)
    before[order] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    with np.errstate(over="ignore"):
        return np.where(before == 0, hashes, _mixed(hashes.view(np.uint64) + _mixed(before)).view(np.int64))


def _cell_hashes(series: pl.Series) -> np.ndarray:
    """Return a number for the value of each cell of a column."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    if series.dtype == pl.Boolean:
        series = series.cast(pl.Int8)
    if series.dtype.is_nested():
        series = pl.Series(series.name, [None if of is None else repr(of) for of in series.to_list()], pl.String)
    if not series.dtype.is_numeric() and series.dtype != pl.String:
        series = series.cast(pl.String, strict=False)
    numbers = series.cast(pl.Float64, strict=False).fill_nan(None)
    # Zero has a sign, which is not a difference; -0.0 + 0.0 is 0.0.
    found = (numbers.fill_null(0.0).to_numpy() + 0.0).view(np.uint64).copy()
    found[series.is_null().to_numpy()] = _EMPTY
    is_word = (numbers.is_null() & series.is_not_null()).to_numpy()
    if is_word.any():
        words = series.filter(pl.Series(is_word)).cast(pl.String)
        names = words.unique().sort()
        each = np.array([_word(name) for name in names], np.uint64)
        found[is_word] = each[words.cast(pl.Enum(names)).to_physical().to_numpy()]
    return found


def _word(text: str) -> np.uint64:
    """Return the hash of a text."""
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), np.uint64)[0]


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return numbers of 64 bits, each mixed: SplitMix64's finalizer."""
    for shift, factor in _FACTORS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
