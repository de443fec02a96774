"""The columns of a table as parts of coded rows that can be shuffled, or set to a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import torch
from torch import Tensor

from nnrun.components.data.table.columns import FIRST_KNOWN, MISSING, Column

# Values to which a number is set, evenly from its 5th to its 95th percentile, and the most of a column of categories.
_STEPS, _MOST_CATEGORIES = 20, 12
_LOW, _HIGH = 0.05, 0.95
_NOT_KNOWN = {MISSING: "(empty)", MISSING + 1: "(unknown)"}
_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TableColumn:
    """A column of a table as an `InputColumn`."""

    column: Column
    leaf: str
    places: tuple[int, ...]

    @property
    def name(self) -> str:
        """The title of the column."""
        return self.column.name

    def settings(self, cells: Tensor) -> tuple[Tensor, Sequence[float] | Sequence[str]]:
        """Return numbers evenly over the range of most cells, dates likewise, or the most frequent categories."""
        if not self.column.is_numeric:
            return self._categories(cells[:, 0])
        numbers = _evenly(cells[:, 0])
        if self.column.kind == "number":
            return numbers[:, None], numbers.tolist()
        if self.column.features[0].name != self.column.name:  # the day is the same in all rows
            return cells[:0], []
        moments = [_START + timedelta(days=day) for day in numbers.tolist()]
        parts = [feature.name.removeprefix(self.column.name) for feature in self.column.features]
        rows = [[_part(moment, part) for part in parts] for moment in moments]
        return torch.tensor(rows, dtype=cells.dtype).reshape(len(rows), len(parts)), [
            f"{moment:%Y-%m-%d}" for moment in moments
        ]

    def _categories(self, codes: Tensor) -> tuple[Tensor, list[str]]:
        found, counts = codes.unique(return_counts=True)
        kept = found[counts.argsort(descending=True, stable=True)[:_MOST_CATEGORIES]]
        known = self.column.categories
        names = [known[code - FIRST_KNOWN] if code >= FIRST_KNOWN else _NOT_KNOWN[code] for code in kept.tolist()]
        return kept[:, None], names


def input_columns(columns: Sequence[Column]) -> Iterator[TableColumn]:
    """Yield each column with its places in coded rows."""
    number = category = 0
    for column in columns:
        if column.is_numeric:
            yield TableColumn(column, "numbers", tuple(range(number, number + len(column.features))))
            number += len(column.features)
        else:
            yield TableColumn(column, "categories", (category,))
            category += 1


def _evenly(cells: Tensor) -> Tensor:
    """Return all numbers if they are few, else some evenly between two percentiles; infinities and gaps left out."""
    known = cells[cells.isfinite()].double()
    distinct = known.unique()
    if len(distinct) > _STEPS:
        low, high = known.quantile(torch.tensor([_LOW, _HIGH], dtype=torch.float64)).tolist()
        if low < high:
            distinct = torch.linspace(low, high, _STEPS, dtype=torch.float64)
    # Adding 0 makes -0 a plain 0.
    return distinct[:: -(-len(distinct) // _STEPS) or 1].to(cells.dtype) + 0


def _part(moment: datetime, part: str) -> float:
    """Return a part of a moment as rows are coded by it."""
    if not part:
        return (moment - _START) / timedelta(days=1)
    return float({".month": moment.month, ".weekday": moment.isoweekday(), ".hour": moment.hour}[part])
