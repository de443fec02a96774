"""The number of steps that trainer.max_minutes allows: the first ones are timed on a copy, of which nothing is kept."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nnrun.assembly.capture import captured
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective, watched_by
from nnrun.assembly.training import Training, make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.base.errors import ConfigError, DivergedError
from nnrun.base.foreign_errors import lacks_memory
from nnrun.base.invocation import quietly, seconds_since_begin
from nnrun.base.meter import meter
from nnrun.base.shown import counted
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.components.callbacks.loggers import Loggers
from nnrun.config.schema import TrainerSettings
from nnrun.core.compile import compile_network
from nnrun.core.device import wait_for
from nnrun.core.loop import train_stretch
from nnrun.core.seams.batch import Batch
from nnrun.core.state import TrainState
from nnrun.core.validation import finish_epoch
from nnrun.core.work import Work
from nnrun.runs.console import Console
from nnrun.runs.directory import RunDir
from nnrun.tasks.on_a_copy import random_state_kept
from nnrun.tasks.session import Session, with_chosen
from nnrun.tasks.train.fit import make_watchers
from nnrun.tasks.train.memory_advice import out_of_memory

_MINUTE = 60.0
# Steps that are not timed, the fewest that are, and the fraction of the budget that is spent on timing them.
_WARM_UP, _FEWEST, _FRACTION = 3, 3, 0.03
_MOST_SECONDS = 5.0
# How often the end of an epoch is timed. What takes more than this fraction of the budget is not timed again.
_CLOSINGS, _LONG = 3, 0.02
# What is kept free: this fraction of the budget, and seconds for the end of a run and for each exported format.
_MARGIN, _END_SECONDS, _EXPORT_SECONDS = 0.03, 1.0, 1.0


@dataclass(frozen=True)
class Speed:
    """The seconds that the parts of a training take, as they were measured on its first steps.

    `closing` is the validation and the checkpoint at the end of an epoch, and `saving` that checkpoint alone. `start`
    is what comes before the first step, `end` what follows the last validation.
    """

    step: float
    closing: float
    saving: float
    start: float
    end: float


def with_steps(job: Job, data: Opened, session: Session) -> Job:
    """Return the job with the number of steps that fit into trainer.max_minutes, and say it.

    A trainer.epochs of the user's stays the limit; the default is raised where more fit. Nothing that the training
    depends on is changed. Raises ConfigError where not a single step fits.
    """
    trainer = job.settings.trainer
    assert trainer.max_minutes is not None
    budget = trainer.max_minutes * _MINUTE
    with random_state_kept(), meter("timing the first steps", unit="steps", ticks=True):
        speed, steps_per_epoch = _measured(job, data, session, budget)
    spent = seconds_since_begin()
    steps = steps_within(budget * (1 - _MARGIN) - spent, speed, steps_per_epoch, trainer)
    given = f"trainer.max_minutes={trainer.max_minutes:g}"
    if steps < 1:
        least = (spent + _needed(speed)) / (1 - _MARGIN)
        raise ConfigError(
            f"{given} is not enough for one step: {spent:.1f} s have passed, a step takes {_short(speed.step)}, "
            f"and the start and the end of the training, with its evaluation and exports, about "
            f"{_needed(speed) - speed.step:.1f} s; give {math.ceil(least / _MINUTE * 100) / 100:g} or more"
        )
    fits = f"{counted(steps, 'step')} ({steps / steps_per_epoch:.1f} epochs) at {_short(speed.step)} a step"
    epochs, whole = trainer.epochs, trainer.epochs * steps_per_epoch
    if steps >= whole and not job.composed.is_default("trainer.epochs"):
        session.console.note(f"{given} would allow {fits}: trainer.epochs={epochs} is the limit")
        return with_chosen(job, session, job.composed.with_trainer(max_minutes=None))
    became, more = {"max_minutes": None, "max_steps": steps}, ""
    if steps > whole:
        became["epochs"] = math.ceil(steps / steps_per_epoch)
        more = f" trainer.epochs={became['epochs']}"
    session.console.note(f"{given} allows {fits}: trainer.max_steps={steps}{more}")
    return with_chosen(job, session, job.composed.with_trainer(**became))


def steps_within(seconds: float, speed: Speed, steps_per_epoch: int, trainer: TrainerSettings) -> int:
    """Return the number of steps that fit into the seconds left, with the validations and checkpoints among them."""
    a_step = speed.step + speed.closing / steps_per_epoch
    if trainer.validate_every_steps is not None:
        a_step += speed.closing / trainer.validate_every_steps
    if trainer.checkpoint_every_steps is not None:
        a_step += speed.saving / trainer.checkpoint_every_steps
    left = seconds - _needed(speed) + speed.step
    return max(0, math.floor(left / a_step))


def _needed(speed: Speed) -> float:
    """Return the seconds that a training of one step takes from now on."""
    return speed.start + speed.step + speed.closing + speed.end


def _short(seconds: float) -> str:
    """Return a time in words, in milliseconds below a second."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _measured(job: Job, data: Opened, session: Session, budget: float) -> tuple[Speed, int]:
    """Return the speed of a training that is thrown away, and the number of its steps in an epoch."""
    job = _to_measure(job)
    with tempfile.TemporaryDirectory(prefix=".budget", dir=session.out.path) as folder:
        try:
            return _timed(job, data, _aside(session, Path(folder)), budget)
        except Exception as error:
            if lacks_memory(error):
                raise out_of_memory(job.settings, str(job.device)) from error
            raise


def _to_measure(job: Job) -> Job:
    """Return the job without what is used only once: given weights, the user's callbacks, loggers, a profile.

    `trainer.compile=auto` compiles only long trainings, which it makes faster. Settings given in vain are found once
    the number of steps is known.
    """
    settings, trainer = job.settings, job.settings.trainer
    trainer = replace(trainer, profile=False, compile=trainer.compile is True, max_minutes=None)
    settings = replace(settings, trainer=trainer, transfer=replace(settings.transfer, weights=None))
    config = job.composed.config.copy()
    if config.callback and trainer.cuda_graph == "auto":
        # A training with custom callbacks is not captured.
        settings = replace(settings, trainer=replace(trainer, cuda_graph=False))
    config.callback, config.logger = {}, {}
    return replace(job, settings=settings, composed=replace(job.composed, config=config, source=None, typed=()))


def _aside(session: Session, folder: Path) -> Session:
    """Return a session that prints nothing, and writes to another folder."""
    with quietly():
        console = Console()
    reached = replace(session.reached, warnings=[])
    return replace(session, out=RunDir(folder), console=console, loggers=Loggers(console), reached=reached, last=[])


def _timed(job: Job, data: Opened, aside: Session, budget: float) -> tuple[Speed, int]:
    """Build and start a training, time its steps and a validation; return the speed and the steps in an epoch."""
    started = time.perf_counter()
    objective = make_objective(job, data)
    job = watched_by(job, objective)
    training = make_training(job, data, objective)
    state = training.state
    watchers = make_watchers(job, data, objective, training, aside)
    callbacks = [callback for name, callback in watchers.callbacks.items() if name != "progress"]
    # All of it trains then, which takes longer.
    state.progress.epoch = state.freezing.until_epoch or 0
    state.set_training()
    if training.compilation.enabled:
        compile_network(state, training.train.take(training.train.order(0)[0])[0])
    with aside.stop.deferred(), watchers.saving:
        step = make_step(job.settings.trainer, state, objective, callbacks, watchers.watch.mark)
        work = Work(objective, step, training.train, training.valid, callbacks, aside.stop.poll)
        work, _ = keep_features(training.transfer, state, work, training.plan, aside.console)
        work = captured(job, work, step, training.plan.total_steps, aside.console)
        for callback in callbacks:
            callback.on_fit_start(state)
        watchers.saving.finish(state)
        wait_for(state.device)
        start = time.perf_counter() - started
        steps = _Steps(training, work, budget)
        steps.time()
        closing, validation = _close(state, work, watchers.saving, budget)
    end = _seconds_of_the_end(job, data, validation, steps.seconds)
    speed = Speed(steps.seconds, closing, closing - validation, start, end)
    return speed, -(-training.train.num_batches // training.plan.accumulate)


def _close(state: TrainState, work: Work, saving: Checkpointing, budget: float) -> tuple[float, float]:
    """Return the seconds that the end of an epoch takes, and those of the validation among them."""
    closings = [(0.0, 0.0)]
    # The training itself reports that it diverges.
    with suppress(DivergedError):
        while len(closings) <= _CLOSINGS and closings[-1][0] <= _LONG * budget:
            start, before = time.perf_counter(), state.clock.validation_seconds
            finish_epoch(state, work)
            saving.finish(state)
            state.progress.validated_step = 0
            closings.append((time.perf_counter() - start, state.clock.validation_seconds - before))
    return statistics.median_low(closings[1:] or closings)


def _seconds_of_the_end(job: Job, data: Opened, validation: float, step: float) -> float:
    """Return the seconds that follow the last validation: evaluation, exports with their verification, the report."""
    if data.valid:
        passes = validation / len(data.valid) * (len(data.test) + len(data.valid))
        test = validation / len(data.valid) * len(data.test)
    else:
        passes = test = step * len(data.test) / (job.settings.data.batch * job.settings.trainer.accumulate)
    num_exports = len(job.settings.export)
    return passes + num_exports * (test + _EXPORT_SECONDS) + _END_SECONDS


class _Steps:
    """Takes the first steps of a training. `seconds` is the time of one, as far as is known."""

    def __init__(self, training: Training, work: Work, budget: float) -> None:
        self._state, self._plan, self._work, self._budget = training.state, training.plan, work, budget
        self._batches: Iterator[Batch] | None = None
        self.seconds = 0.0
        # The training itself reports it.
        self._diverged = False

    def time(self) -> None:
        """Take steps until their time is known well enough. Waits for the device."""
        self.seconds = self._take(1)
        if self.seconds <= _LONG * self._budget:
            self._take(_WARM_UP - 1)
            enough = min(_FRACTION * self._budget, _MOST_SECONDS)
            spent, taken, num = 0.0, 0, _FEWEST
            while spent < enough and not self._diverged:
                spent, taken = spent + self._take(num) * num, taken + num
                self.seconds, num = spent / taken, taken
        self._batches = None

    def _take(self, num_steps: int) -> float:
        """Take steps, over the ends of epochs; return the mean time of one."""
        state, work = self._state, self._work
        at, clock = state.progress, state.clock
        first, before = at.step, clock.seconds
        plan = replace(self._plan, total_steps=first + num_steps, validate_every_steps=None)
        try:
            while at.step < plan.total_steps:
                self._batches = self._batches or iter(work.train.epoch(at.epoch, at.batch))
                train_stretch(state, work, plan, self._batches)
                if at.batch >= work.train.num_batches:
                    at.epoch, at.batch, self._batches = at.epoch + 1, 0, None
        except DivergedError:
            self._diverged = True
        return (clock.seconds - before) / max(1, at.step - first)
