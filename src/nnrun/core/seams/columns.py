"""What raw samples consist of by name, such as the columns of a table: for measuring what predictions depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class InputColumn(Protocol):
    """A part of a raw sample that callers know by a name.

    `leaf` is the key of its tensor among the raw inputs, `(N, F)`, and `places` are its positions in a row of it.
    """

    name: str
    leaf: str
    places: Sequence[int]

    def settings(self, cells: Tensor) -> tuple[Tensor, Sequence[float] | Sequence[str]]:
        """Return what it may be set to, `(G, P)`, and a number or a text for each; `cells`, `(N, P)`, show its range.

        Numbers ascend. There are none if a change of this part alone would mean nothing.
        """
        ...
