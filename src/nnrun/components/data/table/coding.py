"""The rows of a table as tensors: numbers as they are, categories as codes; and what the training part shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nnrun.components.data.table.columns import FIRST_KNOWN, MISSING, UNKNOWN, Column, Feature
from nnrun.components.data.table.kinds import Cells
from nnrun.core.seams.data import Split

if TYPE_CHECKING:
    import polars as pl

# A category with fewer training samples is treated as unknown, so that a network learns what to do with unknown ones.
_LEAST_SAMPLES = 2


def column_of(name: str, cells: Cells) -> Column:
    """Return a column of which nothing is learned yet: with all of its categories, or the parts of its dates."""
    if cells.kind == "number":
        return Column(name, "number", cells.written, features=(Feature(name),))
    if cells.kind == "date":
        parts = ("", ".month", ".weekday", *((".hour",) if _has_times(cells.values) else ()))
        return Column(name, "date", cells.written, features=tuple(Feature(name + part) for part in parts))
    assert cells.kind in ("boolean", "category")
    known = tuple(cells.values.drop_nulls().unique().sort())
    return Column(name, cells.kind, cells.written, categories=known)  # type: ignore[arg-type]


def _has_times(moments: pl.Series) -> bool:
    """Return whether moments have a time of day."""
    return bool((moments.drop_nulls().dt.truncate("1d") != moments.drop_nulls()).any())


def coded(cells: Mapping[str, Cells], columns: Sequence[Column]) -> dict[str, Tensor]:
    """Return rows as `numbers`, float32 `(N, F)`, NaN where empty, and `categories`, int64 `(N, C)`."""
    numbers = [part for column in columns if column.is_numeric for part in _numbers(cells[column.name], column)]
    codes = [_codes(cells[column.name].values, column) for column in columns if not column.is_numeric]
    found = {}
    if numbers:
        found["numbers"] = torch.from_numpy(np.stack(numbers, 1))
    if codes:
        found["categories"] = torch.from_numpy(np.stack(codes, 1))
    return found


def _numbers(cells: Cells, column: Column) -> list[np.ndarray]:
    """Return the numbers of each feature of a column, float32 `(N,)`."""
    values = cells.values
    if column.kind == "number":
        each = [values]
    else:
        days = values.dt.timestamp("us").cast(float) / 86_400e6
        named = {"": days, ".month": values.dt.month(), ".weekday": values.dt.weekday(), ".hour": values.dt.hour()}
        each = [named[feature.name.removeprefix(column.name)] for feature in column.features]
    with np.errstate(over="ignore"):
        return [part.cast(float).fill_null(float("nan")).to_numpy().astype(np.float32) for part in each]


def _codes(values: pl.Series, column: Column) -> np.ndarray:
    """Return the code of each cell of a column of categories, int64 `(N,)`."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    known = pl.Series(column.categories, dtype=pl.String)
    places = values.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64) + FIRST_KNOWN
    return places.fill_null(UNKNOWN).set(values.is_null(), MISSING).to_numpy().copy()


def learned(
    splits: Mapping[str, Split], columns: Sequence[Column], num_bins: int
) -> tuple[dict[str, Split], tuple[Column, ...], list[str]]:
    """Return the splits, coded by what the training part shows, its columns, and the names of the constant ones.

    `columns` are those that the splits are coded by.
    """
    train = splits["train"].inputs
    kept: list[Column] = []
    numbers: list[int] = []
    tables: list[tuple[int, Tensor]] = []
    place = code = 0
    for column in columns:
        if column.is_numeric:
            places = range(place, place + len(column.features))
            place += len(column.features)
            learnt, of_it = _learned_numbers(column, train["numbers"][:, places.start : places.stop].numpy(), num_bins)
            if learnt is not None:
                kept.append(learnt)
                numbers += [places[index] for index in of_it]
        else:
            found = _learned_categories(column, train["categories"][:, code])
            if found is not None:
                kept.append(found[0])
                tables.append((code, found[1]))
            code += 1
    names = {column.name for column in kept}
    constant = [column.name for column in columns if column.name not in names]
    return {part: _recoded(split, numbers, tables) for part, split in splits.items()}, tuple(kept), constant


def _recoded(split: Split, numbers: Sequence[int], tables: Sequence[tuple[int, Tensor]]) -> Split:
    """Return a split with some of its numbers, and some of its categories by other codes."""
    inputs = {}
    if numbers:
        given = split.inputs["numbers"]
        inputs["numbers"] = given if len(numbers) == given.shape[1] else given[:, list(numbers)].contiguous()
    if tables:
        inputs["categories"] = torch.stack([new[split.inputs["categories"][:, place]] for place, new in tables], 1)
    return replace(split, inputs=inputs)


def _learned_categories(column: Column, codes: Tensor) -> tuple[Column, Tensor] | None:
    """Return a column with the categories that the training part has often enough, and their codes by the old ones.

    None if all training samples have the same.
    """
    counts = torch.bincount(codes, minlength=column.num_codes)
    if int((counts > 0).sum()) < 2:
        return None
    is_kept = counts[FIRST_KNOWN:] >= _LEAST_SAMPLES
    if int(is_kept.sum()) < 2:  # hardly any returns
        is_kept = counts[FIRST_KNOWN:] > 0
    new = torch.full((column.num_codes,), UNKNOWN, dtype=torch.int64)
    new[MISSING] = MISSING
    new[FIRST_KNOWN:][is_kept] = torch.arange(int(is_kept.sum())) + FIRST_KNOWN
    names = tuple(name for name, keep in zip(column.categories, is_kept.tolist(), strict=True) if keep)
    return replace(column, categories=names, has_missing=int(counts[MISSING]) > 0), new


def _learned_numbers(column: Column, values: np.ndarray, num_bins: int) -> tuple[Column | None, list[int]]:
    """Return a column with what its numbers `(N, F)` show, and which features it keeps: those that are not constant."""
    is_there = ~np.isnan(values)
    has_missing = not bool(is_there.all())
    features, kept = [], []
    for place, feature in enumerate(column.features):
        found = _learned_feature(feature, values[is_there[:, place], place], num_bins)
        # Whether the cell is empty may say something, though the number does not.
        if found is not None and (found.edges or (has_missing and not place)):
            features.append(replace(found, edges=found.edges or (found.center, found.center + 1)))
            kept.append(place)
    if not features:
        return None, []
    return replace(column, has_missing=has_missing, features=tuple(features)), kept


def _learned_feature(feature: Feature, values: np.ndarray, num_bins: int) -> Feature | None:
    """Return a feature with its median, its scale and the edges of its bins; without edges if it is constant."""
    if not len(values):
        return None
    values = np.clip(np.sort(values), -1e38, 1e38)
    at = np.quantile(values, np.linspace(0, 1, num_bins + 1), method="inverted_cdf")
    low, center, high = (float(of) for of in np.quantile(values, (0.25, 0.5, 0.75), method="linear"))
    first, last = float(values[0]), float(values[-1])
    # RealMLP's: the interquartile range, or half of the whole range where half of the numbers are the same.
    spread = high - low if high > low else (last - first) / 2
    scale = float(np.float32(1 / spread)) if spread > 0 else 0.0
    edges = np.unique(np.append(at, last)).astype(float)
    is_constant = len(edges) < 2
    return Feature(feature.name, center, scale, () if is_constant else tuple(edges.tolist()))
