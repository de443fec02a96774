"""Sums over samples: numbers, rows, padding; what does not fit is refused, since it would broadcast and be wrong."""

from __future__ import annotations

import pytest
import torch

from nnrun.components.metrics.sums import add_rows, add_sums, zero
from nnrun.core.seams.batch import Batch

CPU = torch.device("cpu")
ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [torch.nan, torch.nan]])
PADDED = Batch(torch.zeros(3, 1), torch.zeros(3), torch.tensor([1.0, 1.0, 0.0]), 2)


def test_padding_adds_nothing() -> None:
    number, row = zero(CPU), zero(CPU, 2)
    add_sums([number], [ROWS[:, 0]], PADDED)
    add_rows(row, ROWS, PADDED)
    assert (number.item(), row.tolist()) == (4, [4, 6])


@pytest.mark.parametrize("is_full", [True, False])
def test_what_is_no_sum_of_that_shape_is_refused(is_full: bool) -> None:
    batch = PADDED._replace(is_full=is_full)
    for total, values in ((zero(CPU), ROWS), (zero(CPU, 2), ROWS), (zero(CPU, 2), ROWS[:, 0])):
        with pytest.raises(ValueError, match="add_rows adds rows"):
            add_sums([total], [values], batch)
    for total, values in (
        (zero(CPU, 2), ROWS[:, 0]),
        (zero(CPU), ROWS),
        (zero(CPU, 3), ROWS),
        (zero(CPU, 2), ROWS[:, :1]),
    ):
        with pytest.raises(ValueError, match="add_sums adds numbers"):
            add_rows(total, values, batch)
        assert not total.any()
