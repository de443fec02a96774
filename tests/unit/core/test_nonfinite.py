"""A loss that is NaN or infinite: which update is reported, and that a skipped update leaves no trace."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from nnrun.base.errors import DivergedError
from nnrun.core.batches import SplitBatches
from nnrun.core.loop import fit, train_epoch
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch, are_finite
from nnrun.core.progress import Place
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.data import Split

CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")


def see(watch: FiniteWatch, *losses: float, start: int = 1) -> None:
    for step, loss in enumerate(losses, start):
        watch.note(torch.tensor(loss), Place(step, 2, step))


@pytest.mark.parametrize(("losses", "named"), [([1, 1, "bad", "bad"], 3), ([1, 1, 1, "bad"], 4), (["bad"], 1)])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_the_watch_names_the_first_bad_step(losses, named, value):
    watch = FiniteWatch()
    see(watch, *(value if loss == "bad" else 1.0 for loss in losses))
    with pytest.raises(DivergedError, match=rf"at step {named} \(epoch 2, batch {named}\);"):
        watch.check()


def test_the_watch_counts_on_after_a_check_that_found_nothing():
    watch = FiniteWatch()
    see(watch, 1.0, 1.0, 1.0, 1.0)
    watch.check()
    see(watch, 1.0, NAN, 1.0, start=5)
    with pytest.raises(DivergedError, match="at step 6 "):
        watch.check()


def test_a_skipping_watch_ends_the_training_where_too_many_in_a_row_are_bad():
    """Negative control: as many bad updates, but never three in a row, do not end the training."""
    watch = SkippingWatch(3)
    see(watch, NAN, NAN, 1.0, INF, NAN, 1.0)
    watch.check()
    assert watch.state_dict() == {"skipped": 4, "in_a_row": 0}
    see(watch, NAN, NAN, NAN, 1.0, start=7)
    with pytest.raises(DivergedError, match=r"3 updates in a row .* up to step 9 "):
        watch.check()


def test_the_count_in_a_row_survives_a_resume():
    watch, resumed = SkippingWatch(3), SkippingWatch(3)
    see(watch, NAN, NAN)
    resumed.load_state_dict(watch.state_dict())
    see(resumed, NAN, start=3)
    with pytest.raises(DivergedError, match="up to step 3 "):
        resumed.check()
    assert resumed.num_skipped == 3


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "fused sgd with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "fused adam": lambda p: torch.optim.Adam(p, fused=True),
    "adam": lambda p: torch.optim.Adam(p, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.9),
}


def poisoned(training, bad_batches, value=NAN):
    """The training with every sample of some batches of its first epoch spoilt."""
    order = training.work.train.order(0)
    inputs = training.split.inputs.clone()
    for batch in bad_batches:
        inputs[order[batch]] = value
    batches = SplitBatches(samples_at(Split(inputs, training.split.targets), Layout(CPU)), nn.Identity(), 8, 0)
    training.work = replace(training.work, train=batches, valid=None)
    return training


@pytest.mark.parametrize("bad_batches", [(0,), (2,), (1, 2), (0, 4)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_that_is_left_out_leaves_no_trace(small, make_network, name, bad_batches):
    """The weights, the optimizer's state and BatchNorm's statistics are those of a training without these batches.

    Negative control: with an update less or more, they are others.
    """
    network = make_network(nn.BatchNorm1d(8), nn.Tanh())
    training = poisoned(small(num_samples=40, network=network, max_skipped=3), bad_batches)
    training.state.optimizer = OPTIMIZERS[name](network.parameters())
    fit(training.state, training.work, training.plan)

    def without(batches):
        reference = make_network(nn.BatchNorm1d(8), nn.Tanh()).train()
        optimizer = OPTIMIZERS[name](reference.parameters())
        for index, batch in enumerate(training.work.train.epoch(0)):
            if index not in batches:
                training.objective.losses(reference(batch.inputs), batch).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        return reference.state_dict(), optimizer.state_dict()["state"]

    def same(one, two):
        return all(torch.equal(tensor, two[key]) for key, tensor in one.items())

    weights, states = without(bad_batches)
    assert same(network.state_dict(), weights)
    ours = training.state.optimizer.state_dict()["state"]
    assert ours.keys() == states.keys()
    assert all(same(ours[key], states[key]) for key in states)
    assert training.state.watch.num_skipped == len(bad_batches)
    assert training.state.progress.step == 5
    assert not same(network.state_dict(), without((*bad_batches, 3))[0])


def test_a_bad_batch_does_not_count_in_the_metrics(small):
    training = poisoned(small(num_samples=40, max_skipped=3), (1,), INF)
    train_epoch(training.state, training.work, training.plan)
    assert training.state.sums["weight"] == 32
    assert torch.isfinite(training.state.sums["loss"])


class Root(nn.Module):
    """The square root: at 0 its value is finite and its derivative is not."""

    def forward(self, inputs):
        return (inputs * 0).sqrt() + inputs


def test_gradients_that_are_not_finite_are_left_out_though_the_loss_is(small, make_network):
    """Negative control: without skipping, the weights are lost, and saving reports it."""
    for skipping in (True, False):
        network = make_network(Root())
        training = small(network=network, max_skipped=100 if skipping else None)
        with contextlib.suppress(DivergedError):
            train_epoch(training.state, training.work, training.plan)
        assert are_finite(network.parameters()) is skipping


@pytest.mark.parametrize("good", [True, False])
def test_the_average_of_the_weights_stays_where_an_update_is_left_out(small, make_network, good):
    network = make_network()
    ema = small(network=network, ema_decay=0.5).state.ema
    before = [weight.clone() for weight in ema.network.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    ema.update(network, torch.tensor(good))
    moved = [not torch.equal(*pair) for pair in zip(before, ema.network.parameters(), strict=True)]
    assert moved == [good] * len(moved)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ([torch.ones(2), torch.zeros(0), torch.tensor(3)], True),
        ([torch.ones(2), torch.tensor([1.0, NAN])], False),
        ([torch.tensor(-INF)], False),
        ([torch.tensor([1, 2]), torch.tensor(True)], True),
        ([], True),
    ],
)
def test_are_finite(tensors, expected):
    assert are_finite(tensors) is expected


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_names_the_update_whose_loss_was_not_finite(small, accumulate):
    """Updates are counted, not batches: the number of the third epoch's first update shows which."""
    training = small(num_samples=40, epochs=3, accumulate=accumulate)
    updates_an_epoch = 5 if accumulate == 1 else 3
    calls = 0
    plain_losses = training.objective.loss.loss

    def losses(outputs, targets):
        nonlocal calls
        calls += 1
        return plain_losses(outputs, targets) * (float("nan") if calls == 11 else 1.0)

    training.objective.loss.loss = losses
    with pytest.raises(DivergedError, match=rf"at step {2 * updates_an_epoch + 1} \(epoch 3, batch 1\)"):
        fit(training.state, training.work, training.plan)
