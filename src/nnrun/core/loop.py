"""The training loop: fit, and one epoch. Nothing waits for the device but the logs and the end of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnrun.core.device import wait_for
from nnrun.core.evaluate import validate
from nnrun.core.objective import Objective
from nnrun.core.plan import Plan
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.training import UpdateStep
from nnrun.core.state import TrainState


@dataclass(frozen=True)
class Work:
    """What is learned, and from what; `poll` is asked between steps, at points that can be saved, and may raise."""

    objective: Objective
    step: UpdateStep
    train: Batches
    valid: Batches | None
    callbacks: Sequence[Callback] = ()
    poll: Callable[[], None] = lambda: None


def fit(state: TrainState, work: Work, plan: Plan) -> None:
    """Train from where `state` stands until the plan is done or a callback sets a reason to stop."""
    for callback in work.callbacks:
        callback.on_fit_start(state)
    while not plan.is_done(state.progress):
        train_epoch(state, work, plan)
        finish_epoch(state, work)
    for callback in work.callbacks:
        callback.on_fit_end(state)


def train_epoch(state: TrainState, work: Work, plan: Plan) -> None:
    """Train the rest of the epoch under way."""
    at, train = state.progress, work.train
    state.set_training()
    batches = iter(train.epoch(at.epoch, at.batch))
    with state.clock.running():
        while at.batch < train.num_batches and at.step < plan.total_steps:
            first, last = at.batch, min(at.batch + plan.accumulate, train.num_batches)
            num_samples = min(last * train.batch_size, train.num_samples) - first * train.batch_size
            work.step(batches, range(first, last), num_samples)
            at.batch = last
            state.clock.num_samples += num_samples
            if at.step % plan.log_every_steps == 0:
                state.watch.check()
            for callback in work.callbacks:
                callback.on_step_end(state)
            work.poll()
        wait_for(state.device)  # the clock must not stop before the device does
    state.watch.check()


def finish_epoch(state: TrainState, work: Work) -> None:
    """Validate, and close the epoch, also one that the plan's last step cut short."""
    metrics: dict[str, float] = {}
    if work.valid is not None:
        metrics = validate(state.eval_module, work.objective, work.valid, state.device, work.poll)
    at = state.progress
    at.epoch, at.batch = at.epoch + 1, 0
    if state.schedule:
        state.schedule.after_epoch(metrics)
    if metrics:
        at.validated_step = at.step
        for callback in work.callbacks:
            callback.on_validation_end(state, metrics)
    for callback in work.callbacks:
        callback.on_epoch_end(state)
