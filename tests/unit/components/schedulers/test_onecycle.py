"""The one cycle: torch's own, its corners mended, and a rate for each group."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from nnrun.base.errors import ConfigError
from nnrun.components.optimizers.muon import MuonWithAdamW
from nnrun.components.schedulers.onecycle import OneCycle


def make_optimizer(kind: type[Optimizer] = SGD, **options) -> Optimizer:
    return kind([nn.Parameter(torch.ones(2))], lr=0.1, **options)


def history(optimizer: Optimizer, scheduler: LRScheduler, num_steps: int) -> list[tuple[float, float]]:
    """Return the learning rate and the momentum, or first beta, of each update."""
    rows = []
    for _ in range(num_steps):
        group = optimizer.param_groups[0]
        rows.append((group["lr"], group["betas"][0] if "betas" in group else group.get("momentum", 0.0)))
        optimizer.step()
        scheduler.step()
    return rows


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("cycle_momentum", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_equals_torchs_within_the_run(kind, cycle_momentum, strategy, three_phase):
    options = {
        "pct_start": 0.4,
        "anneal_strategy": strategy,
        "cycle_momentum": cycle_momentum,
        "base_momentum": 0.7,
        "max_momentum": 0.8,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
        "three_phase": three_phase,
    }
    ours, theirs = make_optimizer(kind), make_optimizer(kind)
    expected = history(theirs, OneCycleLR(theirs, max_lr=0.3, total_steps=23, **options), 23)
    assert history(ours, OneCycle(ours, max_lr=0.3, total_steps=23, **options), 23) == expected


def test_beyond_the_run_it_stays_where_it_ended():
    """Negative control: torch's own raises in the second step beyond."""
    ours, theirs = make_optimizer(), make_optimizer()
    rows = history(ours, OneCycle(ours, max_lr=0.3, total_steps=10, cycle_momentum=True), 30)
    assert rows[9][0] == pytest.approx(0.3 / 25 / 1e4)
    assert rows[10:] == [rows[9]] * 20
    with pytest.raises(ValueError, match="total steps"):
        history(theirs, OneCycleLR(theirs, max_lr=0.3, total_steps=10, cycle_momentum=False), 30)


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize(
    ("total_steps", "pct_start"), [(10, 0.1), (1, 1), (1, 0.3), (0, 0.3), (5, 0), (5, 1), (2, 0.5)]
)
def test_the_shortest_rises_and_runs_have_finite_rates(total_steps, pct_start, three_phase):
    """Negative control: torch's own divides by zero where the rise is one step long, and refuses whole numbers."""
    optimizer = make_optimizer()
    scheduler = OneCycle(optimizer, max_lr=0.3, total_steps=total_steps, pct_start=pct_start, three_phase=three_phase)
    rows = history(optimizer, scheduler, total_steps + 3)
    assert all(0 < rate <= 0.3 for rate, _ in rows)


def test_a_rise_of_one_step_starts_at_the_top():
    optimizer = make_optimizer()
    assert history(optimizer, OneCycle(optimizer, max_lr=0.3, total_steps=10, pct_start=0.1), 1)[0][0] == pytest.approx(
        0.3
    )


def test_other_groups_keep_their_ratio_to_the_first():
    """Negative control: torch's own would take AdamW's 0.001 up to Muon's 0.04."""
    params = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    optimizer = MuonWithAdamW(params, lr=0.02, adamw_lr=0.001)
    OneCycle(optimizer, max_lr=0.04, total_steps=10)
    assert [group["max_lr"] for group in optimizer.param_groups] == pytest.approx([0.04, 0.002])


@pytest.mark.parametrize("optimizer", [make_optimizer(Adagrad), MuonWithAdamW([nn.Parameter(torch.ones(2))])])
def test_cycling_the_momentum_of_an_optimizer_without_one_is_refused(optimizer):
    """Negative control: with cycle_momentum false the same optimizer is taken."""
    with pytest.raises(
        ConfigError, match=r"scheduler\.cycle_momentum is true, but (Adagrad|MuonWithAdamW) has no momentum"
    ):
        OneCycle(optimizer, max_lr=0.1, total_steps=10, cycle_momentum=True)
    OneCycle(optimizer, max_lr=0.1, total_steps=10, cycle_momentum=False)
