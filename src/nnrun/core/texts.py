"""A column of texts: a leaf of a tree of samples that no tensor can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from torch import Tensor


class Texts:
    """The texts of samples, in order; like a tensor `(N,)` it can be cut and indexed."""

    def __init__(self, values: Sequence[str]) -> None:
        self.values = list(values)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice | Tensor) -> Texts: ...
    def __getitem__(self, index: int | slice | Tensor) -> Texts | str:
        if isinstance(index, int):
            return self.values[index]
        if isinstance(index, slice):
            return Texts(self.values[index])
        return Texts([self.values[place] for place in index.tolist()])

    def numel(self) -> int:
        """Return the number of texts."""
        return len(self.values)
