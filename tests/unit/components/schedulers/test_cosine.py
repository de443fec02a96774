"""The cosine with and without a rise, against its formula and torch's own schedulers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from nnrun.base.errors import ConfigError
from nnrun.components.optimizers.muon import MuonWithAdamW
from nnrun.components.schedulers.cosine import WarmupCosine


def make_optimizer(lr: float = 0.4) -> Optimizer:
    return SGD([nn.Parameter(torch.ones(2))], lr=lr)


def history(optimizer: Optimizer, scheduler: LRScheduler, num_steps: int) -> list[float]:
    rates = []
    for _ in range(num_steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("total_steps", [1, 2, 17, 100])
@pytest.mark.parametrize("min_lr", [0.0, 0.01])
def test_without_a_rise_it_is_torchs_cosine(total_steps, min_lr):
    ours, theirs = make_optimizer(), make_optimizer()
    expected = history(theirs, CosineAnnealingLR(theirs, T_max=total_steps, eta_min=min_lr), total_steps)
    actual = history(ours, WarmupCosine(ours, total_steps, min_lr=min_lr), total_steps)
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_rises_in_equal_shares_then_falls_by_the_formula():
    """Negative control: a rise that began at 0 would have 0 where this has a fifth."""
    optimizer = make_optimizer(0.5)
    rates = history(optimizer, WarmupCosine(optimizer, 25, warmup_fraction=0.2, min_lr=0.1), 25)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5:] == pytest.approx([0.1 + 0.4 * (1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)])


def test_stays_at_min_lr_after_the_run():
    """Negative control: torch's cosine rises again."""
    optimizer = make_optimizer()
    assert history(optimizer, WarmupCosine(optimizer, 10, min_lr=0.01), 25)[10:] == [0.01] * 15


@pytest.mark.parametrize(("total_steps", "warmup_fraction"), [(0, 0.0), (0, 0.5), (1, 0.9), (2, 0.99), (3, 0.5)])
def test_the_shortest_runs_have_finite_rates(total_steps, warmup_fraction):
    optimizer = make_optimizer()
    rates = history(optimizer, WarmupCosine(optimizer, total_steps, warmup_fraction), 5)
    assert all(0 <= rate <= 0.4 for rate in rates)
    assert all(rate > 0 for rate in rates[:total_steps])


def test_each_group_keeps_its_own_rate():
    optimizer = MuonWithAdamW([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))], lr=0.02, adamw_lr=0.001)
    scheduler = WarmupCosine(optimizer, 10)
    history(optimizer, scheduler, 5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.0005])


def test_min_lr_above_any_groups_rate_is_refused():
    """Negative control: min_lr equal to the rate is taken."""
    params = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    with pytest.raises(ConfigError, match=r"scheduler\.min_lr is 0\.01; allowed: .*0\.001"):
        WarmupCosine(MuonWithAdamW(params, lr=0.02, adamw_lr=0.001), 10, min_lr=0.01)
    WarmupCosine(MuonWithAdamW(params, lr=0.02, adamw_lr=0.001), 10, min_lr=0.001)


def test_a_rate_that_is_a_tensor_is_written_in_place():
    """A captured CUDA graph reads the rate from that tensor. Negative control: a new tensor would go unseen."""
    rate = torch.tensor(0.4)
    optimizer = Adam([nn.Parameter(torch.ones(2))], lr=rate)
    scheduler = WarmupCosine(optimizer, 10)
    in_group = optimizer.param_groups[0]["lr"]
    assert history(optimizer, scheduler, 6)[5] == pytest.approx(0.2)
    assert optimizer.param_groups[0]["lr"] is in_group
    assert all(isinstance(base_lr, float) for base_lr in scheduler.base_lrs)
