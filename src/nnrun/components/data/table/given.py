"""The cells of a table as callers of a deployed network have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnrun.components.data.table.kinds import Cells
from nnrun.core.seams.data import Tree
from nnrun.core.texts import Texts

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class GivenCells:
    """The cells of columns, as `kind` and the values, and which rows of them; None means all.

    Texts of categories and booleans are as their file has them.
    """

    columns: Mapping[str, tuple[str, pl.Series]]
    rows: Tensor | None = None

    def subset(self, indices: Tensor) -> GivenCells:
        """Return the rows at `indices`, in that order."""
        return replace(self, rows=indices if self.rows is None else self.rows[indices])

    def tree(self, names: Sequence[str]) -> Tree:
        """Return columns by name: numbers float32 and dates float64 `(N,)`, NaN where empty; the others as Texts."""
        return {name: self._cells(*self.columns[name]) for name in names}

    def words(self) -> Sequence[str]:
        """Return the cells of each row that are not empty, with the titles of their columns."""
        columns = {}
        for name, (kind, values) in self.columns.items():
            cells = (values if self.rows is None else values.gather(self.rows.numpy())).to_list()
            columns[name] = [None if cell is None else _word(kind, cell) for cell in cells]
        rows = zip(*columns.values(), strict=True)
        return ["; ".join(f"{name} {cell}" for name, cell in zip(columns, row, strict=True) if cell) for row in rows]

    def _cells(self, kind: str, values: pl.Series) -> Tensor | Texts:
        values = values if self.rows is None else values.gather(self.rows.numpy())
        if kind == "number":
            return torch.from_numpy(values.cast(float).fill_null(float("nan")).to_numpy().copy()).float()
        if kind == "date":
            seconds = values.dt.timestamp("us").cast(float) / 1e6
            return torch.from_numpy(seconds.fill_null(float("nan")).to_numpy().copy())
        return Texts(values.fill_null("").to_list())


def _word(kind: str, cell: object) -> str:
    """Return a cell as people write it."""
    if kind == "date":
        return str(cell).removesuffix(" 00:00:00")
    return f"{cell:.10g}" if isinstance(cell, float) else str(cell)


def given_cells(frame: pl.DataFrame, cells: Mapping[str, Cells]) -> GivenCells:
    """Return the cells of a table, which is `stripped`, with the texts that its file has."""
    import polars as pl  # noqa: PLC0415 - only a run on a table pays for it

    found = {}
    for name, of in cells.items():
        is_word = of.kind in ("boolean", "category") and frame[name].dtype == pl.String
        found[name] = (of.kind, frame[name] if is_word else of.values)
    return GivenCells(found)
