"""The range test: updates whose learning rate rises exponentially from a minimum to a maximum (Smith 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from nnrun.assembly.training import Training
from nnrun.core.passes import make_update
from nnrun.core.randomness import seed_step
from nnrun.core.step import Step
from nnrun.tasks.lr_find.record import LrFindSettings
from nnrun.tasks.lr_find.suggest import DIVERGED, Smoothed


@dataclass
class Ramp:
    """The learning rates of a range test, the loss before each update, smoothed and as it was, and how it ended."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    diverged: bool = False


def ramp_up(
    training: Training, step: Step, settings: LrFindSettings, base: float, after_step: Callable[[], None]
) -> Ramp:
    """Make updates with rising learning rates until the last, or until the loss diverges. Changes the training's state.

    `base` is the optimizer's learning rate as configured: a parameter group with another keeps its ratio to it.
    Waits for the device at every step.
    """
    state, found, average = training.state, Ramp(), Smoothed(settings.steps)
    ratios = [float(group["lr"]) / base for group in state.optimizer.param_groups]
    batches = _batches(training, step)
    for number in range(settings.steps):
        rate = settings.min * (settings.max / settings.min) ** (number / (settings.steps - 1))
        for group, ratio in zip(state.optimizer.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
        loss = next(batches)
        smoothed = average.add(loss)
        found.rates.append(rate)
        found.losses.append(loss)
        found.smoothed.append(smoothed)
        lowest = min(found.smoothed)
        # A loss may be negative: what counts is how far it rose, then.
        limit = DIVERGED * lowest if lowest > 0 else lowest + DIVERGED * (max(abs(lowest), abs(found.smoothed[0])))
        if not math.isfinite(loss) or smoothed > limit:
            found.diverged = True
            return found
        step.prepare()
        make_update(state)
        state.optimizer.zero_grad(set_to_none=True)
        state.progress.step += 1
        after_step()
    return found


def _batches(training: Training, step: Step) -> Iterator[float]:
    """Yield the loss of each update to come, after both passes over its batches, in the order of a training."""
    state, train, accumulate = training.state, training.train, training.plan.accumulate
    state.set_training()
    while True:
        batches = iter(train.epoch(state.progress.epoch, 0))
        for first in range(0, train.num_batches, accumulate):
            last = min(first + accumulate, train.num_batches)
            num_samples = min(last * train.batch_size, train.num_samples) - first * train.batch_size
            losses = []
            for index in range(first, last):
                seed_step(state.device, state.seed, state.progress.epoch, state.world.stream(index))
                losses.append(step.gradients(next(batches), num_samples)[2])
            yield float(torch.stack(losses).sum())  # waits for the device
        state.progress.epoch += 1
