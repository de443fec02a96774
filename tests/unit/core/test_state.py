"""The average of the weights, the watch over the loss, the clock, and the state's own form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnrun.core.clock
from nnrun.core.clock import Clock
from nnrun.core.ema import Ema
from nnrun.core.loop import fit

CPU = torch.device("cpu")


def test_the_average_equals_a_plain_reference():
    """Negative control: without the warm-up of the decay the first average would differ."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    ema = Ema(network, decay=0.9)
    average, weights = 2.0, [5.0, -1.0, 3.0, 0.5] + [float(number) for number in range(100)]
    for updates, weight in enumerate(weights, 1):
        nn.init.constant_(network.weight, weight)
        ema.update(network)
        ema.num_updates += 1
        decay = min(0.9, (1 + updates) / (10 + updates))
        average = decay * average + (1 - decay) * weight
        assert ema.network.weight.item() == pytest.approx(average, rel=1e-5)
        if updates == 1:
            assert ema.network.weight.item() != pytest.approx(0.9 * 2 + 0.1 * 5, rel=1e-3)
    assert decay == 0.9


def test_the_average_copies_buffers_and_wants_no_gradients():
    network = nn.BatchNorm1d(2)
    ema = Ema(network, decay=0.5)
    network(torch.randn(16, 2) + 7)
    ema.update(network)
    assert torch.equal(ema.network.running_mean, network.running_mean)
    assert ema.network.num_batches_tracked == 1
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


def test_the_clock_leaves_saving_out_and_counts_it(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(nnrun.core.clock, "time", time)
    clock = Clock()
    with clock.running():
        time.now += 2
        with clock.saving():
            time.now += 50
        time.now += 1
    time.now += 1000
    with clock.saving():
        time.now += 5
    with clock.running():
        time.now += 4
    assert (clock.seconds, clock.saving_seconds) == (7, 55)


def test_the_clock_counts_what_ran_before_an_error(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(nnrun.core.clock, "time", time)
    clock = Clock()
    with pytest.raises(KeyError), clock.running():
        time.now += 3
        with clock.saving():
            time.now += 10
            raise KeyError
    assert clock.seconds == 3


def plain_leaves(value):
    if isinstance(value, dict):
        return [leaf for item in (*value, *value.values()) for leaf in plain_leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in plain_leaves(item)]
    return [value]


def test_the_state_is_tensors_and_plain_values_and_survives_a_round_trip(small):
    training = small(epochs=2, ema_decay=0.9)
    training.state.optimizer = torch.optim.Adam(training.network.parameters())
    fit(training.state, training.work, training.plan)
    saved = training.state.state_dict()
    types = {type(leaf) for leaf in plain_leaves(saved)}
    assert types <= {torch.Tensor, str, int, float, bool, type(None)}
    other = small(epochs=2, ema_decay=0.9, network=nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    other.state.optimizer = torch.optim.Adam(other.network.parameters())
    other.state.load_state_dict(training.state.evaluated.state_dict(), saved)
    again = other.state.state_dict()
    ours, theirs = plain_leaves(saved), plain_leaves(again)
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
    for name, weight in training.state.network.state_dict().items():
        assert torch.equal(other.state.network.state_dict()[name], weight)
        assert not torch.equal(other.state.evaluated.state_dict()[name], weight)
