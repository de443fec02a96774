"""The training loop: fit, one epoch, one step. Nothing in a step waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnrun.base.errors import InterruptedRun
from nnrun.base.foreign_errors import calling
from nnrun.core.evaluate import evaluate
from nnrun.core.nonfinite import Place, judged_by, step_if
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch, Batches
from nnrun.core.seams.problem import Problem
from nnrun.core.state import TrainState


@dataclass(frozen=True)
class Plan:
    """How long a training goes, and how an update is made."""

    epochs: int
    total_steps: int
    accumulate: int = 1
    grad_clip_norm: float | None = None
    log_every_steps: int = 50
    monitor: str = "valid/loss"


@dataclass(frozen=True)
class Work:
    """What is learned from; `poll` is asked between steps, at points that can be saved, and may raise to stop."""

    problem: Problem
    train: Batches
    valid: Batches | None
    poll: Callable[[], None] = lambda: None


def fit(state: TrainState, work: Work, plan: Plan) -> None:
    """Train from where `state` stands until the plan is done or a callback sets a reason to stop."""
    for callback in state.callbacks:
        callback.on_fit_start(state)
    while not finished(state, plan):
        train_epoch(state, work, plan)
        finish_epoch(state, work, plan)
    for callback in state.callbacks:
        callback.on_fit_end(state)


def finished(state: TrainState, plan: Plan) -> bool:
    """Return whether nothing is left to do; an epoch that is trained and not validated is left."""
    at = state.progress
    if at.stop_reason or at.epoch >= plan.epochs:
        return True
    return at.step >= plan.total_steps and at.batch == 0


def train_epoch(state: TrainState, work: Work, plan: Plan) -> None:
    """Train the rest of the epoch under way."""
    at, train = state.progress, work.train
    state.set_training()
    batches = iter(train.epoch(at.epoch, at.batch))
    with state.clock.running():
        while at.batch < train.num_batches and at.step < plan.total_steps:
            first, last = at.batch, min(at.batch + plan.accumulate, train.num_batches)
            num_samples = min(last * train.batch_size, train.num_samples) - first * train.batch_size
            losses = []
            for index in range(first, last):
                seed_step(state.device, state.seed, at.epoch, index)
                try:
                    batch = next(batches)
                except InterruptedRun as interruption:
                    # It waited in vain for data; what the update has accumulated so far is in no checkpoint.
                    interruption.at_once |= index > first
                    raise
                losses.append(backward(state, work.problem, batch, num_samples))
            update(state, plan, losses[0] if len(losses) == 1 else torch.stack(losses).sum())
            at.batch = last
            state.clock.num_samples += num_samples
            if at.step % plan.log_every_steps == 0:
                state.watch.check()
            for callback in state.callbacks:
                callback.on_step_end(state)
            work.poll()
        state.wait()  # the clock must not stop before the device does
    state.watch.check()


def backward(state: TrainState, problem: Problem, batch: Batch, num_samples: int) -> Tensor:
    """Add the gradients of one batch; `num_samples` is the update's, over all the batches that it accumulates."""
    state.watch.keep(state.network)
    with calling("model"), state.precision.autocast(state.device):
        outputs = state.called(batch.inputs)
    if isinstance(outputs, Tensor):
        outputs = outputs.float()
    losses = losses_of(batch, outputs, problem)
    loss = mean_loss(losses, batch, num_samples)
    with calling("model"):
        (state.scaler.scale(loss) if state.scaler else loss).backward()
    batch = state.watch.settle(state.network, loss.detach(), batch)
    problem.train_metric.update(state.sums, outputs.detach(), losses.detach(), batch)
    return loss.detach()


def losses_of(batch: Batch, outputs: Tensor, problem: Problem) -> Tensor:
    """Return the loss of each sample, `(N,)`; of one that is mixed, those of both targets by their shares."""
    losses = problem.losses(outputs, batch.targets)
    if batch.mixed is None:
        return losses
    return torch.lerp(problem.losses(outputs, batch.mixed.targets), losses, batch.mixed.share)


def mean_loss(losses: Tensor, batch: Batch, num_samples: int) -> Tensor:
    """Return a batch's part of the mean over an update's samples; padding has no part in it."""
    if batch.is_full:
        return losses.mean() if num_samples == batch.num_samples else losses.sum() / num_samples
    return (losses * batch.weight).sum() / num_samples


def update(state: TrainState, plan: Plan, loss: Tensor) -> None:
    """Make one optimizer update from the gradients, and forget them; a bad one may be left out (nonfinite.py)."""
    at, optimizer, scaler, norm = state.progress, state.optimizer, state.scaler, None
    if scaler:
        scaler.unscale_(optimizer)
    if plan.grad_clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), plan.grad_clip_norm)
    for callback in state.callbacks:
        callback.on_gradients_ready(state)
    # The scaler judges the gradients itself: in fp16 they overflow as a matter of course.
    state.watch.see(loss, None if scaler else optimizer, Place(at.step + 1, at.epoch + 1, at.batch + 1), norm)
    good = judged_by(scaler, optimizer) if scaler else state.watch.good
    with calling("optimizer"):
        if good is None:
            optimizer.step()
        else:
            step_if(good, optimizer)
        if scaler:
            scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if state.ema:
        state.ema.update(state.network, state.watch.good)
    if state.scheduler and getattr(state.scheduler, "interval", "epoch") == "step":
        with calling("scheduler"):
            state.scheduler.step()
    at.step += 1


def finish_epoch(state: TrainState, work: Work, plan: Plan) -> None:
    """Validate, and close the epoch, also one that the plan's last step cut short."""
    metrics: dict[str, float] = {}
    if work.valid is not None:
        sums = evaluate(state.judged, work.problem, work.valid, state.device, work.poll)
        metrics = {f"valid/{name}": value for name, value in work.problem.eval_metric.compute(sums).items()}
    at = state.progress
    at.epoch, at.batch = at.epoch + 1, 0
    if state.scheduler and getattr(state.scheduler, "interval", "epoch") == "epoch":
        step_by_epoch(state, metrics.get(plan.monitor))
    for callback in state.callbacks:
        callback.on_epoch_end(state, metrics)


def step_by_epoch(state: TrainState, monitored: float | None) -> None:
    """Step a schedule that goes by epochs; one that watches a metric is given it."""
    if isinstance(state.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        assert monitored is not None, "check() refuses a plateau without a validation part"
        state.scheduler.step(monitored)
    elif state.scheduler:
        with calling("scheduler"):
            state.scheduler.step()
