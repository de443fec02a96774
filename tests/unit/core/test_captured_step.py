"""A captured step makes the updates of the step itself: a tape records on a CPU what a CUDA graph does on a GPU."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from nnrun.components.augment.mixing import MixUp
from nnrun.core.augmenter import Augmenter
from nnrun.core.captured_step import CapturedStep
from nnrun.core.loop import fit
from nnrun.core.schedule import Schedule
from nnrun.core.seams.callback import Callback
from nnrun.core.transfer.freezing import Freezing
from support.small_training import CPU, Small, make_network
from support.tape import TapeRecorder


class ByStep(torch.optim.lr_scheduler.LambdaLR):
    interval = "step"


def adam(small: Small) -> None:
    small.state.optimizer = torch.optim.Adam(small.state.network.parameters(), lr=0.01, fused=True)


def sgd(small: Small) -> None:
    small.state.optimizer = torch.optim.SGD(
        small.state.network.parameters(), lr=0.1, momentum=0.9, dampening=0.5, nesterov=False, fused=True
    )


def mixed(small: Small) -> None:
    adam(small)
    small.work.train.augmenter = Augmenter({"mixup": MixUp(0.4)}, 0, CPU)


def scheduled(small: Small) -> None:
    adam(small)
    small.state.schedule = Schedule(ByStep(small.state.optimizer, lambda step: 1 / (1 + step)), "valid/loss")


def one_cycle(small: Small) -> None:
    adam(small)
    schedule = torch.optim.lr_scheduler.OneCycleLR(small.state.optimizer, 0.1, 100)
    schedule.interval = "step"
    small.state.schedule = Schedule(schedule, "valid/loss")


def frozen_at_first(small: Small) -> None:
    adam(small)
    small.state.freezing = Freezing(frozenset({"0.weight", "0.bias", "1.weight", "1.bias"}), 2)


def by_epoch(small: Small) -> None:
    sgd(small)
    small.state.schedule = Schedule(torch.optim.lr_scheduler.StepLR(small.state.optimizer, 1, 0.5), "valid/loss")


CASES = {
    "Adam": (adam, {}),
    "SGD with momentum": (sgd, {}),
    "an average, clipping": (adam, {"ema_decay": 0.9, "grad_clip_norm": 0.1}),
    "accumulate": (adam, {"accumulate": 2}),
    "mixup": (mixed, {}),
    "a schedule by steps": (scheduled, {}),
    "a schedule by epochs": (by_epoch, {}),
    "frozen at first": (frozen_at_first, {}),
    "skip": (adam, {"max_skipped": 3, "ema_decay": 0.9}),
}


def never(work):
    raise RuntimeError("no")


def train(prepare, *, replayed: bool = True, **options) -> tuple[Small, TapeRecorder, list[str]]:
    if "network" not in options:
        options["network"] = make_network(nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh())
    small = Small(num_samples=44, epochs=4, log_every_steps=3, **options)
    prepare(small)
    recorder, problems = TapeRecorder(), []
    step = CapturedStep(small.work.step, small.work.train, recorder if replayed else never, problems.append)
    small.work = replace(small.work, step=step, train=step.rows)
    fit(small.state, small.work, small.plan)
    return small, recorder, problems


def everything(small: Small) -> dict[str, torch.Tensor]:
    state = small.state
    found = dict(state.network.state_dict())
    for number, values in enumerate(state.optimizer.state.values()):
        found |= {f"{number} {name}": value for name, value in values.items() if value is not None}
    if state.ema:
        found |= {f"average {name}": value for name, value in state.ema.network.state_dict().items()}
    return found | state.sums


@pytest.mark.parametrize("name", CASES)
def test_replayed_updates_have_the_bits_of_updates_made_one_by_one(name):
    prepare, options = CASES[name]
    ours, recorder, problems = train(prepare, **options)
    theirs, _, why = train(prepare, replayed=False, **options)
    assert (problems, why) == ([], ["RuntimeError: no"])
    assert len(recorder.tapes) >= 3  # full batches, with and without a row, and the short last one
    expected = everything(theirs)
    for key, value in everything(ours).items():
        assert torch.equal(value, expected[key]), key
    assert ours.state.progress == theirs.state.progress
    assert float(ours.state.optimizer.param_groups[0]["lr"]) == theirs.state.optimizer.param_groups[0]["lr"]


class CountsOnTheHost(torch.optim.SGD):
    """Its updates depend on a number that a recording takes for constant."""

    num_steps = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.num_steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=0.1 / self.num_steps)


class CountsInItsState(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["number"] = self.state[parameter].get("number", 0) + 1


class Reads(nn.Module):
    def forward(self, inputs):
        return inputs * (2.0 if inputs.sum().item() > 0 else 1.0)


class LooksAtGradients(Callback):
    def __init__(self) -> None:
        self.num_calls = 0

    def on_gradients_ready(self, state) -> None:
        self.num_calls += 1


def own(kind):
    def prepare(small: Small) -> None:
        small.state.optimizer = kind(small.state.network.parameters(), lr=0.1)

    return prepare


@pytest.mark.parametrize(
    ("kind", "problem"),
    [(CountsOnTheHost, "differs by"), (CountsInItsState, "CountsInItsState keeps its number on the host")],
)
def test_an_update_that_cannot_be_replayed_is_found_before_one_is(kind, problem):
    """Negative control of the check: the updates differ in nothing but a number on the host."""
    _, _, problems = train(own(kind))
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_network_that_reads_a_value_trains_as_without_a_recording():
    network = make_network(Reads(), nn.Tanh())
    small, _, problems = train(adam, network=copy.deepcopy(network))
    assert len(problems) == 1
    assert "reads a value" in problems[0]
    plain = Small(network=network, num_samples=44, epochs=4, log_every_steps=3)
    adam(plain)
    fit(plain.state, plain.work, plain.plan)
    for ours, theirs in zip(small.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_callback_that_looks_at_gradients_is_called_in_each_update_that_it_joins():
    looks = LooksAtGradients()
    small, recorder, problems = train(adam, callbacks=[looks])
    assert (looks.num_calls, recorder.tapes, problems) == (small.state.progress.step, [], [])


def test_a_schedule_of_more_than_the_learning_rate_is_named():
    _, recorder, problems = train(one_cycle)
    assert (recorder.tapes, problems) == ([], ["the schedule changes the optimizer's betas in every update"])


class Replaces(nn.Module):
    """Keeps an average that its outputs do not depend on, in a new tensor each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, inputs):
        self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
        return inputs


class DrawsOnTheHost(nn.Module):
    def forward(self, inputs):
        return inputs if random.random() < 2 else 2 * inputs


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (Replaces(), "1.mean is replaced in an update; it must be written in place"),
        (DrawsOnTheHost(), "the step draws random numbers on the host"),
    ],
)
def test_what_a_recording_would_not_see_is_found_and_the_training_goes_on_as_without(layer, problem):
    network = make_network(layer, nn.Tanh())
    ours, _, problems = train(adam, network=copy.deepcopy(network))
    theirs, _, _ = train(adam, replayed=False, network=network)
    assert problems == [problem]
    for key, value in everything(theirs).items():
        assert torch.equal(value, everything(ours)[key]), key


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda sums: {"loss": sums["loss"] + 0}, "sum of loss is replaced in an update; it must be written in place"),
        (lambda sums: {f"sum {len(sums)}": torch.zeros(())}, "an update adds tensors"),
    ],
)
def test_a_metric_that_replaces_or_adds_sums_is_found(change, problem):
    def prepare(small: Small) -> None:
        adam(small)
        plain = small.objective.train_metric.update

        def update(sums, *given) -> None:
            plain(sums, *given)
            sums |= change(sums)

        small.objective.train_metric.update = update

    ours, _, problems = train(prepare)
    assert problems == [problem]
    theirs, _, _ = train(prepare, replayed=False)
    assert torch.equal(ours.state.sums["loss"], theirs.state.sums["loss"])


def test_a_scaled_loss_trains_on_where_a_recording_fails_after_the_gradients_were_unscaled():
    def prepare(small: Small) -> None:
        adam(small)
        small.state.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        plain = small.state.optimizer.step
        small.state.optimizer.step = lambda: (small.state.optimizer.param_groups[0]["params"][0].sum().item(), plain())

    small, _, problems = train(prepare)
    assert len(problems) == 1
    assert "reads a value" in problems[0]
    assert small.state.progress.step == small.plan.total_steps
