"""Steps, epochs and fits, compared with their definitions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

import nnrun.core.clock
from nnrun.base.errors import InterruptedRun
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.core.loop import fit, train_epoch
from nnrun.core.schedule import Schedule
from nnrun.core.seams.callback import Callback
from nnrun.core.transfer.freezing import Freezing, frozen_names
from nnrun.core.validation import finish_epoch


def weights_of(training) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in training.network.parameters()])


def trained(training) -> torch.Tensor:
    fit(training.state, training.work, training.plan)
    return weights_of(training)


def test_accumulated_batches_are_one_large_batch_the_short_last_one_included(small):
    """20 samples: updates of 8, 8 and 4. Negative control: without accumulation the weights differ."""
    whole = trained(small(batch_size=8, epochs=3, lr=0.5, num_samples=20))
    parts = trained(small(batch_size=4, epochs=3, lr=0.5, num_samples=20, accumulate=2))
    torch.testing.assert_close(parts, whole, rtol=0, atol=2e-6)
    assert not torch.allclose(trained(small(batch_size=4, epochs=3, lr=0.5)), whole, atol=1e-3)


def test_an_update_of_a_full_and_a_short_batch_weighs_by_samples(small, make_network):
    """Negative control: the mean of the two batches' means gives different weights."""
    training = small(num_samples=11, batch_size=8, accumulate=2, lr=1.0)
    after = trained(training)
    reference, split = make_network(), training.split
    mean = functional.cross_entropy(reference(split.inputs), split.targets)
    first, second = training.work.train.order(0)
    short = second[:3]
    mean_of_means = (
        sum(functional.cross_entropy(reference(split.inputs[rows]), split.targets[rows]) for rows in (first, short)) / 2
    )
    right, wrong = (stepped(reference, loss, 1.0) for loss in (mean, mean_of_means))
    torch.testing.assert_close(after, right, rtol=0, atol=1e-6)
    assert not torch.allclose(after, wrong, atol=1e-3)


def stepped(network: nn.Module, loss: torch.Tensor, lr: float) -> torch.Tensor:
    """One step of plain gradient descent, by hand."""
    weights = list(network.parameters())
    gradients = torch.autograd.grad(loss, weights)
    return torch.cat(
        [(weight - lr * gradient).detach().flatten() for weight, gradient in zip(weights, gradients, strict=True)]
    )


def test_padding_changes_nothing(small, make_network):
    """Negative control: a mean over the 8 rows of the padded batch, and the padding's own loss, give other numbers."""
    training = small(num_samples=11, batch_size=8, lr=1e-30)
    fit(training.state, training.work, training.plan)
    sums, split = training.state.sums, training.split
    outputs = make_network()(split.inputs)
    expected = functional.cross_entropy(outputs, split.targets).item()
    metrics = training.objective.train_metric.compute(sums)
    assert sums["weight"] == 11
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert metrics["accuracy"] == pytest.approx((outputs.argmax(1) == split.targets).double().mean().item())
    order = training.work.train.order(0).flatten()
    padded = functional.cross_entropy(outputs[order], split.targets[order]).item()
    assert padded != pytest.approx(expected, rel=1e-4)


def test_the_short_last_batchs_update_is_its_own_mean(small, make_network):
    training = small(num_samples=11, batch_size=8, lr=0.7)
    after = trained(training)
    reference, split = make_network(), training.split
    for rows in (training.work.train.order(0)[0], training.work.train.order(0)[1][:3]):
        vector = stepped(reference, functional.cross_entropy(reference(split.inputs[rows]), split.targets[rows]), 0.7)
        nn.utils.vector_to_parameters(vector, reference.parameters())
    torch.testing.assert_close(after, nn.utils.parameters_to_vector(reference.parameters()).detach(), rtol=0, atol=1e-6)


class GradientNorms(Callback):
    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_gradients_ready(self, state) -> None:
        gradients = [weight.grad.flatten() for weight in state.network.parameters()]
        self.norms.append(torch.cat(gradients).norm().item())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_clipping_bounds_the_norm_of_each_update(small, accumulate):
    """Negative control: unclipped, norms are above the bound, and a bound above them changes nothing."""
    norms, weights = {}, {}
    for bound in (None, 0.1, 1e6):
        watch = GradientNorms()
        training = small(epochs=2, grad_clip_norm=bound, callbacks=[watch], accumulate=accumulate, batch_size=4)
        weights[bound], norms[bound] = trained(training), watch.norms
    assert min(norms[None]) > 0.1
    assert max(norms[0.1]) <= 0.1 * (1 + 1e-5)
    assert min(norms[0.1]) > 0.099
    assert torch.equal(weights[1e6], weights[None])


class Events(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def on_fit_start(self, state) -> None:
        self.seen.append(("start",))

    def on_step_end(self, state) -> None:
        self.seen.append(("step", state.progress.step, state.progress.batch))

    def on_validation_end(self, state, metrics) -> None:
        self.seen.append(("validation", state.progress.epoch_number, sorted(metrics)[:1]))

    def on_epoch_end(self, state) -> None:
        self.seen.append(("epoch", state.progress.epoch))

    def on_fit_end(self, state) -> None:
        self.seen.append(("end",))


def test_hooks_come_in_their_order(small, make_split):
    events = Events()
    training = small(
        num_samples=20, batch_size=8, epochs=2, accumulate=2, callbacks=[events], valid=make_split(9, seed=1)
    )
    fit(training.state, training.work, training.plan)
    metrics = ["valid/accuracy"]
    assert events.seen == [
        ("start",),
        ("step", 1, 2),
        ("step", 2, 3),
        ("validation", 1, metrics),
        ("epoch", 1),
        ("step", 3, 2),
        ("step", 4, 3),
        ("validation", 2, metrics),
        ("epoch", 2),
        ("end",),
    ]


@pytest.mark.parametrize(("max_steps", "steps", "epochs"), [(1, 1, 1), (3, 3, 1), (4, 4, 2), (99, 6, 2)])
def test_max_steps_ends_a_training_and_what_is_trained_is_validated(small, make_split, max_steps, steps, epochs):
    events = Events()
    training = small(epochs=2, max_steps=max_steps, callbacks=[events], valid=make_split(9, seed=1))
    fit(training.state, training.work, training.plan)
    assert training.state.progress.step == steps
    assert [event for event in events.seen if event[0] == "epoch"] == [("epoch", n + 1) for n in range(epochs)]
    assert events.seen[-3:-1] == [("validation", epochs, ["valid/accuracy"]), ("epoch", epochs)]
    assert training.state.clock.num_samples == {1: 8, 3: 20, 4: 28, 6: 40}[steps]


def test_no_epochs_leave_the_network_as_it_was(small, make_network):
    events = Events()
    training = small(epochs=0, callbacks=[events])
    assert torch.equal(trained(training), nn.utils.parameters_to_vector(make_network().parameters()).detach())
    assert events.seen == [("start",), ("end",)]
    assert training.state.clock.seconds == 0


def test_a_reason_to_stop_ends_the_training_after_its_epoch(small):
    class Stop(Callback):
        def on_epoch_end(self, state) -> None:
            if state.progress.epoch == 2:
                state.progress.stop_reason = "enough"

    training = small(epochs=9, callbacks=[Stop()])
    fit(training.state, training.work, training.plan)
    assert (training.state.progress.epoch, training.state.progress.step) == (2, 6)


@pytest.mark.parametrize("polls", range(12))
def test_a_training_stopped_at_any_poll_and_continued_in_memory_gives_the_same_bits(small, make_split, polls):
    """Three steps and two validation batches an epoch: polls 3, 4, 8 and 9 stop in a validation."""

    def network():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))

    valid = make_split(9, seed=1)
    whole = small(network=network(), epochs=3, valid=valid, ema_decay=0.9)
    expected = trained(whole)
    left = polls

    def poll() -> None:
        nonlocal left
        if left == 0:
            left = -1
            raise InterruptedError
        left -= 1

    first = small(network=network(), epochs=3, valid=valid, ema_decay=0.9, poll=poll)
    with pytest.raises(InterruptedError):
        fit(first.state, first.work, first.plan)
    rest = small(network=network(), epochs=3, valid=valid, ema_decay=0.9)
    rest.state.load_state_dict(first.state.evaluated.state_dict(), first.state.state_dict())
    assert rest.state.progress.batch == min(polls % 5 + 1, 3)
    assert torch.equal(trained(rest), expected)
    for one, other in zip(rest.state.evaluated.parameters(), whole.state.evaluated.parameters(), strict=True):
        assert torch.equal(one, other)
    # Negative control: the weights alone do not say where to resume.
    rest = small(network=first.network, epochs=3, valid=valid, ema_decay=0.9)
    assert not torch.equal(trained(rest), expected)


def test_an_epoch_trained_and_not_validated_is_not_finished(small, make_split):
    training = small(epochs=1, valid=make_split(9, seed=1))
    train_epoch(training.state, training.work, training.plan)
    assert not training.plan.is_done(training.state.progress)
    finish_epoch(training.state, training.work)
    assert training.plan.is_done(training.state.progress)


def test_a_validation_within_an_epoch_comes_between_steps_and_one_at_its_end_comes_once(small, make_split):
    """Five steps an epoch, a validation after every second: step 10 is both, and is validated once."""
    events = Events()
    training = small(num_samples=40, epochs=2, validate_every_steps=2, callbacks=[events], valid=make_split(9, seed=1))
    fit(training.state, training.work, training.plan)
    names = [("epoch", *event[1:]) if event[0] == "epoch" else event[:2] for event in events.seen]
    steps = {"step", "validation"}
    assert [name if name[0] in steps else name[0] for name in names] == [
        "start",
        *(("step", 1), ("step", 2), ("validation", 1), ("step", 3), ("step", 4), ("validation", 1)),
        *(("step", 5), ("validation", 1), "epoch"),
        *(("step", 6), ("validation", 2), ("step", 7), ("step", 8), ("validation", 2)),
        *(("step", 9), ("step", 10), ("validation", 2), "epoch"),
        "end",
    ]


@pytest.mark.parametrize("polls", range(21))
def test_stopped_at_any_poll_of_a_training_that_validates_within_epochs_it_gives_the_same_bits(
    small, make_split, polls
):
    """Three steps an epoch and two batches a validation, of which there are six: after steps 2, 3, 4, 6, 8 and 9."""

    class Validated(Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[int, float]] = []

        def on_validation_end(self, state, metrics) -> None:
            self.seen.append((state.progress.step, metrics["valid/loss"]))

    def make(poll=lambda: None, network=None):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = network or nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        return small(
            network=network,
            epochs=3,
            valid=make_split(9, seed=1),
            ema_decay=0.9,
            validate_every_steps=2,
            callbacks=[Validated()],
            poll=poll,
        )

    whole, left = make(), polls
    expected = trained(whole)

    def poll() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise InterruptedRun(15)

    first = make(poll)
    with pytest.raises(InterruptedRun):
        fit(first.state, first.work, first.plan)
    rest = make()
    rest.state.load_state_dict(first.state.evaluated.state_dict(), first.state.state_dict())
    assert torch.equal(trained(rest), expected)
    for one, other in zip(rest.state.evaluated.parameters(), whole.state.evaluated.parameters(), strict=True):
        assert torch.equal(one, other)
    seen = [training.work.callbacks[0].seen for training in (first, rest, whole)]
    assert seen[0] + seen[1] == seen[2], "each step is validated once, and gives the same"
    assert [step for step, _ in seen[2]] == [2, 3, 4, 6, 8, 9]


def test_the_clock_of_the_steps_stands_still_while_a_network_is_validated(small, make_split, monkeypatch):
    """A second per validation and a second per step, by the test's clock."""
    now = 0.0
    monkeypatch.setattr(nnrun.core.clock, "time", SimpleNamespace(perf_counter=lambda: now))

    class Slow(Callback):
        def on_step_end(self, state) -> None:
            nonlocal now
            now += 1

        def on_validation_end(self, state, metrics) -> None:
            nonlocal now
            now += 100

    training = small(num_samples=40, epochs=2, validate_every_steps=2, callbacks=[Slow()], valid=make_split(9, seed=1))
    fit(training.state, training.work, training.plan)
    assert training.state.clock.seconds == training.state.progress.step == 10
    assert training.state.clock.num_samples == 80


def test_what_is_frozen_stays_in_its_mode_after_a_validation_within_an_epoch(small, make_split):
    """Negative control: evaluate alone would put the whole network back in training mode."""
    modes = []

    class Look(Callback):
        def on_step_end(self, state) -> None:
            modes.append(state.network[1].training)

    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    training = small(network=network, epochs=1, validate_every_steps=1, callbacks=[Look()], valid=make_split(9, seed=1))
    names = frozen_names(network, ["0.*", "1.*"], None)
    training.state.freezing = Freezing(names, None)
    fit(training.state, training.work, training.plan)
    assert modes == [False] * 3


def test_a_reason_to_stop_within_an_epoch_ends_it_and_it_is_validated(small, make_split):
    class Stop(Callback):
        def on_step_end(self, state) -> None:
            if state.progress.step == 4:
                state.progress.stop_reason = "enough"

    events = Events()
    training = small(epochs=9, callbacks=[Stop(), events], valid=make_split(9, seed=1))
    fit(training.state, training.work, training.plan)
    assert (training.state.progress.epoch, training.state.progress.step) == (2, 4)
    assert events.seen[-3:] == [("validation", 2, ["valid/accuracy"]), ("epoch", 2), ("end",)]
    assert training.plan.is_done(training.state.progress)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"max_skipped": 3}, {"grad_clip_norm": 0.01}])
def test_the_norm_of_the_gradients_is_kept_where_a_row_follows(small, options):
    """It is the norm before clipping. Negative controls: between the rows none is computed, unless it is clipped."""
    norms, kept = GradientNorms(), []

    class Keep(Callback):
        def on_step_end(self, state) -> None:
            kept.append(state.grad_norm)

    training = small(num_samples=80, log_every_steps=2, callbacks=[norms, Keep()], **options)
    fit(training.state, training.work, training.plan)
    plain = small(num_samples=80, log_every_steps=1000, **options)
    fit(plain.state, plain.work, plain.plan)
    last = len(kept)
    is_row = [step % 2 == 0 or step == last for step in range(1, last + 1)]
    if "grad_clip_norm" in options:
        unclipped = small(num_samples=80, max_steps=1)
        fit(unclipped.state, unclipped.work, unclipped.plan)
        assert kept[0].item() == unclipped.state.grad_norm.item() > 0.01
        assert None not in kept
    else:
        assert [norm is not None for norm in kept] == is_row
        given = [norm for norm, keeps in zip(norms.norms, is_row, strict=True) if keeps]
        assert [norm.item() for norm in kept if norm is not None] == pytest.approx(given, rel=1e-5)
    assert training.state.state_dict()["grad_norm"] is training.state.grad_norm is kept[-1]
    for ours, theirs in zip(training.state.network.parameters(), plain.state.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_norm_of_scaled_gradients_is_that_of_the_unscaled(small):
    """As in fp16. Negative control: it is not zero, and the scale is not 1."""
    plain, scaled = small(max_steps=1), small(max_steps=1)
    scaled.state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for training in (plain, scaled):
        fit(training.state, training.work, training.plan)
    assert scaled.state.grad_norm.item() == pytest.approx(plain.state.grad_norm.item(), rel=1e-5) != 0
    assert scaled.state.scaler.get_scale() == 1024


READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "nonzero")


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "grad_clip_norm": 0.1, "ema_decay": 0.9}, {"precision": "bf16"}]
)
@pytest.mark.parametrize("skips", [False, True])
def test_no_step_between_two_logs_reads_a_tensor_on_the_host(small, monkeypatch, options, skips):
    """Negative control: at a log, and at the end of the epoch, the watch does read."""
    every = 3 if options.get("accumulate") else 6
    training = small(num_samples=80, log_every_steps=every, max_skipped=3 if skips else None, **options)
    training.state.optimizer = torch.optim.Adam(training.network.parameters(), fused=True)
    if skips:  # from its second step on: before that a fused optimizer has no state to leave alone
        for parameter in training.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        training.state.optimizer.step()
    reads: list[tuple[int, str]] = []
    for name in READS:
        original = getattr(torch.Tensor, name)

        def spy(tensor, *args, _name=name, _original=original, **kwargs):
            reads.append((training.state.progress.step, _name))
            return _original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, spy)
    train_epoch(training.state, training.work, training.plan)
    monkeypatch.undo()
    steps = training.state.progress.step
    assert steps == 10 // options.get("accumulate", 1)
    logged = training.plan.log_every_steps
    assert {step for step, _ in reads} == {logged, steps}


def test_scheduler_steps_by_step_or_by_epoch_as_its_class_says(small):
    class ByStep(torch.optim.lr_scheduler.ExponentialLR):
        interval = "step"

    rates = {}
    for cls in (ByStep, torch.optim.lr_scheduler.ExponentialLR):
        training = small(epochs=2, lr=1.0)
        training.state.schedule = Schedule(cls(training.state.optimizer, gamma=0.5), "valid/loss")
        fit(training.state, training.work, training.plan)
        rates[cls] = training.state.optimizer.param_groups[0]["lr"]
    assert rates == {ByStep: 0.5**6, torch.optim.lr_scheduler.ExponentialLR: 0.5**2}


def test_a_plateau_is_given_the_monitored_metric(small, make_split):
    training = small(epochs=4, lr=1e-30, valid=make_split(9, seed=1))
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(training.state.optimizer, patience=0)
    training.state.schedule = Schedule(scheduler, "valid/loss")
    fit(training.state, training.work, training.plan)
    # Nothing improves at this rate: it is reduced after each epoch but the first, until eps stops that.
    assert scheduler.num_bad_epochs in (0, 3)
    assert scheduler.last_epoch == 4
    assert scheduler.best == pytest.approx(
        CrossEntropy()(training.network(training.valid.inputs), training.valid.targets).mean().item()
    )
