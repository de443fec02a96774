"""The training loop: fit, and one epoch. Only the logs, validation and the end of an epoch wait for the device."""

from __future__ import annotations

from collections.abc import Iterator

from nnrun.core.device import wait_for
from nnrun.core.plan import Plan
from nnrun.core.seams.batch import Batch
from nnrun.core.state import TrainState
from nnrun.core.validation import finish_epoch, validate
from nnrun.core.work import Work


def fit(state: TrainState, work: Work, plan: Plan) -> None:
    """Continue the training in `state` until the plan is done or a callback sets a reason to stop."""
    for callback in work.callbacks:
        callback.on_fit_start(state)
    while not plan.is_done(state.progress):
        train_epoch(state, work, plan)
        finish_epoch(state, work)
    for callback in work.callbacks:
        callback.on_fit_end(state)


def train_epoch(state: TrainState, work: Work, plan: Plan) -> None:
    """Train the rest of the current epoch, with the validations that are due before its end."""
    at = state.progress
    batches = iter(work.train.epoch(at.epoch, at.batch))
    train_stretch(state, work, plan, batches)
    while plan.goes_on(at, work.train.num_batches):
        validate(state, work)
        train_stretch(state, work, plan, batches)


def train_stretch(state: TrainState, work: Work, plan: Plan, batches: Iterator[Batch]) -> None:
    """Train on the batches of an epoch until a validation is due or the epoch is over."""
    at, train = state.progress, work.train
    state.set_training()
    with state.clock.running():
        while plan.goes_on(at, train.num_batches) and not plan.is_validation_due(at):
            first, last = at.batch, min(at.batch + plan.accumulate, train.num_batches)
            num_samples = min(last * train.batch_size, train.num_samples) - first * train.batch_size
            state.is_logged = plan.is_logged(at.step + 1, last, train.num_batches)
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
