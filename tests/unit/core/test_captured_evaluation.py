"""A captured evaluation gives the sums of `evaluate`: a tape replays on a CPU what a CUDA graph does on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from nnrun.core.captured_evaluation import CapturedEvaluation
from nnrun.core.evaluate import evaluate
from nnrun.core.loop import fit
from nnrun.core.seams.callback import Callback
from support.small_training import Small, make_network, make_split
from support.tape import TapeRecorder


class Metrics(Callback):
    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_validation_end(self, state, metrics) -> None:
        self.found.append(dict(metrics))


class Asked:
    """Evaluate, and count how often; as `Work.evaluate` does."""

    def __init__(self, record: Callable) -> None:
        self.problems: list[str] = []
        self.num_begun = 0
        self.captured = CapturedEvaluation(record, self.problems.append, self.begin)

    def begin(self) -> None:
        self.num_begun += 1


def train(num_valid: int, record=None, **options) -> tuple[list[dict[str, float]], Asked, torch.Tensor]:
    metrics = Metrics()
    network = make_network(nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh())
    valid = make_split(num_valid, seed=1)
    small = Small(num_samples=44, epochs=4, network=network, valid=valid, callbacks=[metrics], **options)
    asked = Asked(record or TapeRecorder())
    if record is not None:
        small.work = replace(small.work, evaluate=asked.captured)
    fit(small.state, small.work, small.plan)
    return metrics.found, asked, torch.get_rng_state()


@pytest.mark.parametrize(
    ("num_valid", "options"),
    [
        (21, {}),  # three full batches
        (23, {"ema_decay": 0.5}),
        (5, {"validate_every_steps": 2}),  # one batch
    ],
)
def test_replayed_validations_have_the_numbers_of_those_made_one_by_one(num_valid, options):
    """The weights, their average and BatchNorm's statistics change between them; one recording reads them all."""
    recorder = TapeRecorder()
    ours, asked, draws = train(num_valid, recorder, **options)
    theirs, _, expected_draws = train(num_valid, **options)
    assert (asked.problems, asked.num_begun, len(recorder.tapes)) == ([], 1, 1)
    assert len(ours) >= 4
    assert len({each["valid/loss"] for each in ours}) == len(ours)
    assert ours == theirs
    assert torch.equal(draws, expected_draws)


def test_negative_control_a_replay_for_old_weights_gives_other_numbers(monkeypatch):
    """If the copies of the weights of the recording were read, the validations would be those of the first epoch."""
    theirs, _, _ = train(23)
    monkeypatch.setattr("nnrun.core.captured_evaluation.Recording.replayed", lambda self, poll=None: self.first)
    monkeypatch.setattr("nnrun.core.captured_evaluation.Recording.check", remember)
    ours, _, _ = train(23, TapeRecorder())
    assert ours[0] == theirs[0]
    assert ours[1:] != theirs[1:]


def remember(recording, expected) -> None:
    recording.first = expected


class Reads(nn.Module):
    def forward(self, inputs):
        return inputs * (2.0 if inputs.sum().item() > 0 else 1.0)


class Counts(nn.Module):
    num_calls = 0

    def forward(self, inputs):
        self.num_calls += 1
        return inputs * self.num_calls


class Draws(nn.Module):
    def forward(self, inputs):
        return inputs + torch.randn_like(inputs)


def evaluated(network: nn.Module, num_times: int = 3, between: Callable[[nn.Module], None] = lambda network: None):
    """Evaluate several times both ways; return the problems, the number of recordings, and whether all sums agree."""
    small = Small(valid=make_split(16, seed=1), network=network)
    recorder = TapeRecorder()
    asked, agree = Asked(recorder), True
    for _ in range(num_times):
        state = torch.get_rng_state()
        ours = asked.captured(network, small.objective, small.work.valid)
        after = torch.get_rng_state()
        torch.set_rng_state(state)
        theirs = evaluate(network, small.objective, small.work.valid)
        agree = agree and all(torch.equal(total, theirs[name]) for name, total in ours.items())
        assert torch.equal(torch.get_rng_state(), after)
        between(network)
    assert network.training
    return asked.problems, len(recorder.tapes), agree


@pytest.mark.parametrize(
    ("layer", "problem", "agrees"),
    [
        (Reads(), "model fails with ReadByTheHost", True),
        (Draws(), "an evaluation draws random numbers", True),
        (Counts(), "differs by", False),  # so do two evaluations
    ],
)
def test_what_cannot_be_replayed_is_found_and_evaluated_as_before(layer, problem, agrees):
    problems, _, agree = evaluated(make_network(layer, nn.Tanh()))
    assert len(problems) == 1
    assert problem in problems[0]
    assert agree is agrees


def move(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.data = parameter.data + 1


def test_weights_that_move_are_recorded_anew_and_if_they_always_do_no_more():
    moved = []

    def once(network: nn.Module) -> None:
        if not moved:
            move(network)
        moved.append(1)

    assert evaluated(make_network(), 4, once) == ([], 2, True)
    problems, num_recordings, agree = evaluated(make_network(), 6, move)
    assert problems == ["the network's weights are in other places at each evaluation"]
    assert (num_recordings, agree) == (3, True)


def test_a_metric_that_replaces_its_sum_is_found():
    small = Small(valid=make_split(16, seed=1))
    plain = small.objective.eval_metric.update

    def update(sums, *given) -> None:
        plain(sums, *given)
        sums["loss"] = sums["loss"] + 0

    small.objective.eval_metric.update = update
    asked = Asked(TapeRecorder())
    asked.captured(small.network, small.objective, small.work.valid)
    assert asked.problems == ["the sum loss is replaced in an evaluation; it must be written in place"]


def test_a_stop_between_batches_is_heard():
    small = Small(valid=make_split(16, seed=1))
    asked = Asked(TapeRecorder())
    asked.captured(small.network, small.objective, small.work.valid)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked.captured(small.network, small.objective, small.work.valid, stop)
    theirs = evaluate(small.network, small.objective, small.work.valid)
    ours = asked.captured(small.network, small.objective, small.work.valid)
    assert all(torch.equal(total, theirs[name]) for name, total in ours.items())
