"""An evaluation is the plain computation, in eval mode and fp32, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnrun.base.targets import Targets
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.core.batches import SplitBatches
from nnrun.core.evaluate import KeptOutputs, evaluate
from nnrun.core.objective import Objective
from nnrun.core.residency import Layout, samples_at

CPU = torch.device("cpu")


@pytest.fixture
def objective():
    return Objective(Classification(Targets.classes("abc")), CrossEntropy())


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.9), nn.Linear(16, 3))


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_equals_the_plain_computation(make_split, plain, network, objective, batch_size):
    """Negative control: in training mode, with dropout and the batch's own statistics, the loss differs."""
    split = make_split(23)
    batches = SplitBatches(samples_at(split, Layout(CPU)), plain, batch_size)
    metrics = objective.eval_metric.compute(evaluate(network, objective, batches))
    network.eval()
    outputs = network(split.inputs)
    assert metrics["loss"] == pytest.approx(functional.cross_entropy(outputs, split.targets).item(), rel=1e-6)
    assert metrics["accuracy"] == pytest.approx((outputs.argmax(1) == split.targets).double().mean().item())
    network.train()
    other = functional.cross_entropy(network(split.inputs), split.targets).item()
    assert other != pytest.approx(metrics["loss"], rel=1e-3)


def test_the_outputs_are_kept_in_the_samples_order_without_padding(make_split, plain, network, objective):
    split, network = make_split(23), network.eval()
    kept, too_large = KeptOutputs(), KeptOutputs(most_bytes=23 * 3 * 4 - 1)
    for keeping in (kept, too_large):
        evaluate(network, objective, SplitBatches(samples_at(split, Layout(CPU)), plain, 7), kept=keeping)
    torch.testing.assert_close(kept.on_host(), network(split.inputs))
    losses = functional.cross_entropy(network(split.inputs), split.targets, reduction="none")
    torch.testing.assert_close(kept.losses_on_host(), losses)
    assert too_large.on_host() is None


def test_outputs_are_kept_of_a_network_that_writes_each_into_the_same_memory(make_split, plain, network, objective):
    class InOnePlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.place = network, torch.zeros(7, 3)

        def forward(self, inputs):
            return self.place[: len(inputs)].copy_(self.inner(inputs))

    split, kept = make_split(23), KeptOutputs()
    batches = SplitBatches(samples_at(split, Layout(CPU)), plain, 7)
    evaluate(InOnePlace(), objective, batches, kept=kept)
    torch.testing.assert_close(kept.on_host(), network.eval()(split.inputs))


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_is_put_back_and_statistics_and_generator_are_untouched(make_split, plain, network, objective, mode):
    network.train(mode)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draws = torch.get_rng_state()
    evaluate(network, objective, SplitBatches(samples_at(make_split(23), Layout(CPU)), plain, 8))
    assert network.training is mode
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_the_mode_is_put_back_after_a_stop_and_polls_come_between_batches(make_split, plain, network, objective):
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls == 3:
            raise InterruptedError

    batches = SplitBatches(samples_at(make_split(23), Layout(CPU)), plain, 8)
    with pytest.raises(InterruptedError):
        evaluate(network, objective, batches, poll)
    assert network.training


def test_training_goes_on_after_an_evaluation(make_split, plain, network, objective):
    """The sums and cached tensors of inference mode must not reach a backward pass."""
    split = make_split(23)
    evaluate(network, objective, SplitBatches(samples_at(split, Layout(CPU)), plain, 8))
    functional.cross_entropy(network(split.inputs), split.targets).backward()
    assert all(weight.grad is not None for weight in network.parameters())
