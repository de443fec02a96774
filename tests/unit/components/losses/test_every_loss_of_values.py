"""Losses of values, against the formulas and torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nnrun.components.losses.huber import Huber
from nnrun.components.losses.mae import AbsoluteError
from nnrun.components.losses.mse import SquaredError

LOSSES = {
    "mse": (SquaredError(), functional.mse_loss),
    "mae": (AbsoluteError(), functional.l1_loss),
    "huber": (Huber(), functional.huber_loss),
}


def some() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 2 * torch.randn(20, 3), torch.randn(20, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_mean_over_the_targets_of_a_sample(name):
    loss, theirs = LOSSES[name]
    outputs, targets = some()
    losses = loss(outputs, targets)
    torch.testing.assert_close(losses, theirs(outputs, targets, reduction="none").mean(1))
    torch.testing.assert_close(losses.mean(), theirs(outputs, targets))
    assert loss(outputs.bfloat16(), targets).dtype == torch.float32


def test_huber_by_hand():
    """Of errors 0.5, 1 and 3: half their squares up to delta, then a line."""
    outputs, targets = torch.tensor([[0.5], [1.0], [3.0]]), torch.zeros(3, 1)
    assert Huber(1.0)(outputs, targets).tolist() == [0.125, 0.5, 2.5]
    assert Huber(2.0)(outputs, targets).tolist() == [0.125, 0.5, 4.0]
