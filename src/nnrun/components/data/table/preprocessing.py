"""What a network gets of the rows of a table: scaled numbers, their places among the training samples, categories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nnrun.base.errors import ArtifactError
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.table.codes import beside
from nnrun.components.data.table.columns import Column, packed, packed_titles, unpacked, unpacked_titles
from nnrun.components.data.table.input_columns import TableColumn, input_columns

# Numbers beyond are taken for it, so that infinity is only a very large number.
_LARGEST = 1e38
# Scaled numbers beyond are taken for it, before they are clipped smoothly.
_FAR = 1e4
# The bound that scaled numbers approach.
_BOUND = 3.0


class _Constants(NamedTuple):
    """What is learned of the numbers, as tensors: `(F,)`, `(F, B)`, and the features with a flag for missing ones."""

    center: Tensor
    scale: Tensor
    lower: Tensor
    width: Tensor
    flagged: Tensor


class TablePreprocessing:
    """Turn coded rows into a network's inputs, and describe the columns that they are made of.

    Coded rows are `numbers`, float32 `(N, F)` with NaN where a cell is empty, and `categories`, int64 `(N, C)`, where 0
    is an empty cell and 1 an unknown category; either is missing if there is none. The inputs are
    - `numbers`, `(N, F + M)`: scaled by median and interquartile range and clipped smoothly, after Holzmueller et al.
      2024 (RealMLP, arXiv 2407.04491), then 1 for each empty cell of the M columns with some in training;
    - `bins`, `(N, F, B)`: the piecewise-linear encoding of Gorishniy et al. 2022 (arXiv 2203.05556): how far each of B
      bins, which hold equally many training samples, is filled;
    - `categories`, as they are.
    An empty number is replaced by the median.
    `titles` are those of all columns that the table of the training had: its rows are recognized by their cells. They
    are empty if an earlier version of nnrun learned the columns.
    """

    def __init__(self, columns: Sequence[str] | Sequence[Column], titles: Sequence[str] = ()) -> None:
        given = [column for column in columns if isinstance(column, Column)]
        texts = [column for column in columns if isinstance(column, str)]
        try:
            self.columns: tuple[Column, ...] = unpacked(texts) if texts else tuple(given)
            self.titles = unpacked_titles(titles) if titles else ()
        except (ValueError, RecursionError) as error:  # they come from a file
            raise ArtifactError(f"the preprocessing of a table is damaged: {error}") from error
        self._made: dict[torch.device, _Constants] = {}
        self._makes_bins = True

    def reading(self, names: Collection[str]) -> TablePreprocessing:
        """Return one for a network that reads only the inputs of these names: bins that are not read are not made."""
        found = TablePreprocessing(self.columns, packed_titles(self.titles))
        found._makes_bins = "bins" in names
        return found

    def with_columns(self, columns: Sequence[Column]) -> TablePreprocessing:
        """Return one for other columns of the same table."""
        return TablePreprocessing(columns, packed_titles(self.titles))

    @property
    def numeric(self) -> tuple[Column, ...]:
        """The columns of numbers and dates, in the order of `numbers`."""
        return tuple(column for column in self.columns if column.is_numeric)

    @property
    def categorical(self) -> tuple[Column, ...]:
        """The columns of booleans and categories, in the order of `categories`."""
        return tuple(column for column in self.columns if not column.is_numeric)

    @property
    def sizes(self) -> dict[str, Any]:
        """What a network needs to know of its inputs: how many numbers, bins and flags, and of each column of
        categories how many codes.
        """
        features = [feature for column in self.numeric for feature in column.features]
        return {
            "numbers": len(features),
            "flags": sum(column.has_missing for column in self.numeric),
            "bins": max((len(feature.edges) - 1 for feature in features), default=0),
            "categories": [column.num_codes for column in self.categorical],
        }

    def __call__(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's inputs for coded rows."""
        found: dict[str, Tensor] = {}
        if "numbers" in raw:
            found |= self._of_numbers(raw["numbers"])
        if "categories" in raw:
            found["categories"] = raw["categories"]
        return found

    def _of_numbers(self, raw: Tensor) -> dict[str, Tensor]:
        """Return the scaled numbers with the flags of empty cells, and the bins, if they are made."""
        at = self._constants(raw)
        is_missing = raw.isnan()
        values = torch.where(is_missing, at.center, raw).clamp(-_LARGEST, _LARGEST)
        scaled = ((values - at.center) * at.scale).clamp(-_FAR, _FAR)
        clipped = scaled / (1 + (scaled / _BOUND).square()).sqrt()
        flags = is_missing.index_select(1, at.flagged).to(raw.dtype)
        found = {"numbers": torch.cat([clipped, flags], 1)}
        if self._makes_bins:
            found["bins"] = ((values[:, :, None] - at.lower) / at.width).clamp(0, 1)
        return found

    def _constants(self, raw: Tensor) -> _Constants:
        """Return what is learned, on the device of the rows."""
        # Tensors made in a trace belong to it, so they must not be kept for later calls.
        if torch.compiler.is_compiling() or type(raw) is not Tensor:
            return self._make(raw.device)
        # Kept: a copy from the host in each step would wait, and cannot be captured in a CUDA graph.
        if raw.device not in self._made:
            self._made[raw.device] = self._make(raw.device)
        return self._made[raw.device]

    def _make(self, device: torch.device) -> _Constants:
        features = [feature for column in self.numeric for feature in column.features]
        num_bins = self.sizes["bins"]
        # Bins that a feature does not have begin where no number is, and stay empty.
        lower = [[*of.edges[:-1], *[3 * _LARGEST] * (num_bins - len(of.edges) + 1)] for of in features]
        width = [
            [high - low for low, high in zip(of.edges[:-1], of.edges[1:], strict=True)]
            + [1.0] * (num_bins - len(of.edges) + 1)
            for of in features
        ]
        places, flagged = 0, []
        for column in self.numeric:
            flagged += [places] if column.has_missing else []
            places += len(column.features)
        with torch.inference_mode(False):
            return _Constants(
                torch.tensor([of.center for of in features], device=device),
                torch.tensor([of.scale for of in features], device=device),
                torch.tensor(lower, device=device).reshape(len(features), num_bins),
                torch.tensor(width, device=device).reshape(len(features), num_bins),
                torch.tensor(flagged, dtype=torch.int64, device=device),
            )

    def beside(self) -> dict[str, dict[str, Any]]:
        """Return how rows are coded, for callers of formats that take codes."""
        return {"columns.json": beside(self.columns)}

    def difference_from(self, plain: Mapping[str, Any]) -> str:
        """Return which columns the table of a saved one had and this one's has not, and the other way round."""
        before = TablePreprocessing(plain.get("columns", []), plain.get("titles", ())).titles
        if not before or not self.titles:
            return ""
        lacking, new = ([of for of in one if of not in other] for one, other in permutations((before, self.titles)))
        said = {"it lacks": lacking, "it has besides": new}
        return " and ".join(
            f"{verb} the {'column' if len(of) == 1 else 'columns'} {few(list(map(shown, of)))}"
            for verb, of in said.items()
            if of
        )

    def input_columns(self) -> list[TableColumn]:
        """Return each column as a part of coded rows that can be shuffled, or set to a value."""
        return list(input_columns(self.columns))

    def to_plain(self) -> dict[str, Any]:
        """Return its `_target_` and parameters, plain values from which it can be rebuilt."""
        plain: dict[str, Any] = {"_target_": f"{__name__}.{type(self).__name__}", "columns": packed(self.columns)}
        return plain | {"titles": packed_titles(self.titles)} if self.titles else plain
