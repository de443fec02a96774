"""Validate a training, within an epoch and at its end, and close the epoch."""

from __future__ import annotations

from collections.abc import Mapping

from nnrun.core.seams.problem import Sums
from nnrun.core.state import TrainState
from nnrun.core.work import Work


def validate(state: TrainState, work: Work) -> None:
    """Validate within an epoch."""
    sums, metrics = _measure(state, work)
    if state.schedule:
        state.schedule.after_validation(metrics)
    _tell(state, work, metrics, sums)


def finish_epoch(state: TrainState, work: Work) -> None:
    """Validate, unless this step is already validated, and close the epoch, even one that was cut short."""
    at = state.progress
    sums, metrics = _measure(state, work) if at.validated_step != at.step else ({}, {})
    at.epoch, at.batch = at.epoch + 1, 0
    if state.schedule:
        state.schedule.after_validation(metrics)
        state.schedule.after_epoch()
    _tell(state, work, metrics, sums)
    for callback in work.callbacks:
        callback.on_epoch_end(state)


def _measure(state: TrainState, work: Work) -> tuple[Sums, dict[str, float]]:
    """Return the sums over the validation split, and its metrics by full name, `valid/loss`; both empty without one.

    The problem fits what it chooses on validation.
    """
    if work.valid is None:
        return {}, {}
    # In BatchNorm each rank has the statistics of its own slices: those of the first rank are saved.
    state.world.broadcast(state.evaluated.buffers())
    with state.clock.validating():
        sums = work.evaluate(state.eval_module, work.objective, work.valid, work.poll)
        state.world.sum(sums.values())
        state.progress.validated_step = state.progress.step
        work.objective.problem.fit_validation(sums)
        metrics = work.objective.eval_metric.compute(sums)
    return sums, {f"valid/{name}": value for name, value in metrics.items()}


def _tell(state: TrainState, work: Work, metrics: Mapping[str, float], sums: Sums) -> None:
    """Pass the metrics of a validation, if there was one, to the callbacks; keep the sums of the best."""
    if metrics:
        for callback in work.callbacks:
            callback.on_validation_end(state, metrics)
        if state.progress.is_best:
            state.best_sums = sums
