"""Milestones as fractions of the run, against torch's MultiStepLR in steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from nnrun.components.schedulers.multistep import MultiStep


@pytest.mark.parametrize(
    ("total_steps", "fractions", "steps"),
    [
        (20, [0.5, 0.75], [10, 15]),
        (200, [0.5, 0.75], [100, 150]),
        (10, [0.8, 0.31], [3, 8]),
        (10, [0.5, 0.51], [5, 5]),
        (7, [], []),
    ],
)
def test_equals_torchs_with_milestones_in_steps(total_steps, fractions, steps):
    """Negative control: the second row has the same fractions as the first and ten times its steps."""
    params = [nn.Parameter(torch.ones(2))]
    ours, theirs = SGD(params, lr=0.3), SGD(params, lr=0.3)
    schedulers = MultiStep(ours, total_steps, fractions, gamma=0.2), MultiStepLR(theirs, steps, gamma=0.2)
    for _ in range(total_steps + 5):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        for optimizer, scheduler in zip((ours, theirs), schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0.3 * 0.2 ** len(steps))
