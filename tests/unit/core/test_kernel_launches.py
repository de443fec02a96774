"""How many kernels a step launches beside the network's own: on a GPU each costs the host microseconds."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from nnrun.assembly.training import make_augmenter
from nnrun.base.targets import Targets
from nnrun.cli import compose
from nnrun.components.data.normalize import Normalize
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.config.interpolation import known_late
from nnrun.core.batches import SplitBatches
from nnrun.core.device import Precision
from nnrun.core.ema import Ema
from nnrun.core.loop import train_epoch
from nnrun.core.nonfinite import FiniteWatch, SkippingWatch
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.data import Split
from nnrun.core.skipping_step import SkippingStep
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.work import Work

CPU = torch.device("cpu")
BATCH_SIZE, STEPS = 16, 8
# These make no kernel run: views, and memory that is not filled.
_FREE = {
    *("view", "detach", "t", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "expand", "as_strided"),
    *("alias", "split", "split_with_sizes", "unbind", "_unsafe_view", "_reshape_alias", "lift_fresh"),
    *("empty", "empty_like", "empty_strided"),
}


class Launches(TorchDispatchMode):
    """Count the operations of a block that launch a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[1]
        if name not in _FREE:
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


def network() -> nn.Module:
    """Twelve layers with BatchNorm: work for each parameter or buffer shows."""
    blocks = [part for _ in range(12) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(64, 10))


def bare_step() -> float:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    inputs, targets = torch.randn(BATCH_SIZE, 1, 8, 8), torch.zeros(BATCH_SIZE, dtype=torch.int64)

    def step() -> None:
        loss = functional.cross_entropy(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    with Launches() as launches:
        step()
    return launches.names.total()


def our_step(ema: bool = False, skip: bool = False, clip: float | None = None) -> float:
    net = network()
    split = Split(torch.zeros(BATCH_SIZE * STEPS, 1, 8, 8, dtype=torch.uint8), torch.arange(BATCH_SIZE * STEPS) % 10)
    objective = Objective(Classification(Targets.classes("0123456789")), CrossEntropy())
    batches = SplitBatches(samples_at(split, Layout(CPU)), Normalize((0.1,), (0.3,)), BATCH_SIZE, 0)
    state = TrainState(
        network=net,
        optimizer=torch.optim.Adam(net.parameters(), fused=True),
        schedule=None,
        scaler=None,
        ema=Ema(net, 0.9) if ema else None,
        device=CPU,
        precision=Precision("fp32", "as asked"),
        seed=0,
        sums=objective.train_metric.init(CPU),
        watch=SkippingWatch(3) if skip else FiniteWatch(),
    )
    work = Work(objective, (SkippingStep if skip else Step)(state, objective, clip), batches, None)
    train_epoch(state, work, Plan(9, STEPS))
    state.progress.epoch, state.progress.batch = 1, 0
    with Launches() as launches:
        train_epoch(state, work, Plan(9, 2 * STEPS))
    assert state.progress.step == 2 * STEPS
    return launches.names.total() / STEPS


def test_a_step_launches_twelve_kernels_more_than_a_bare_one():
    """A step gathers a batch, normalizes it, weights the loss and counts; launches once per epoch add a fraction.

    The norm of the gradients is one of those: it is computed where a row of metrics follows, here after the last step.

    Negative control: an average of the weights is seen, and costs no more for a network with many parameters.
    """
    bare, ours, averaged = bare_step(), our_step(), our_step(ema=True)
    assert ours - bare <= 12 + 12 / STEPS
    # The weights, the statistics, the counts of batches, of 86 parameters and buffers in this network.
    assert 1 <= averaged - ours <= 3


@pytest.mark.parametrize("clip", [None, 1.0])
def test_leaving_bad_updates_out_costs_as_many_launches_for_many_parameters_as_for_few(clip):
    """Negative control: it does cost some launches."""
    assert 5 <= our_step(skip=True, clip=clip) - our_step(clip=clip) <= 30


@pytest.mark.parametrize(
    ("name", "most"), [("mixup", 18), ("cutmix", 46), ("erasing", 42), ("color", 66), ("trivialaugment", 153)]
)
def test_an_augmentation_launches_no_more_than_it_did(name, most):
    """Negative control: mixing a batch that may have padding takes more."""
    images = torch.randint(256, (BATCH_SIZE, 3, 32, 32), dtype=torch.uint8)
    targets, ones = torch.arange(BATCH_SIZE), torch.ones(BATCH_SIZE)
    tree = compose([f"augment={name}"]).resolved(known_late((3, 32, 32), Targets.classes("0123456789")))
    augmenter = make_augmenter(tree["augment"], 0, CPU)
    assert augmenter is not None

    def launches(is_full: bool) -> int:
        with Launches() as found:
            inputs = augmenter.augment(images)
            inputs = inputs if name not in ("mixup", "cutmix") else images_as_floats
            augmenter.mix(inputs, targets, ones, is_full=is_full)
        return found.names.total()

    images_as_floats = images.float()
    launches(True)
    assert launches(True) <= most
    assert name not in ("mixup", "cutmix") or launches(False) > most
