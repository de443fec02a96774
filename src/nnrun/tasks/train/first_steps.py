"""The seconds that the parts of a training take, timed on a copy of it that is thrown away."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from nnrun.assembly.allowed import import_target
from nnrun.assembly.capture import captured
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.assembly.objective import make_objective, watched_by
from nnrun.assembly.training import Training, make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.base.errors import DivergedError
from nnrun.base.foreign_errors import lacks_memory
from nnrun.base.invocation import quietly
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.components.callbacks.loggers import Loggers
from nnrun.core.compile import compile_network
from nnrun.core.device import wait_for
from nnrun.core.loop import train_stretch
from nnrun.core.seams.batch import Batch
from nnrun.core.validation import finish_epoch
from nnrun.core.work import Work
from nnrun.runs.console import Console
from nnrun.runs.directory import RunDir
from nnrun.tasks.session import Session
from nnrun.tasks.train.fit import make_watchers
from nnrun.tasks.train.memory_advice import out_of_memory
from nnrun.tasks.train.speed import Closing, Speed, closing_seconds, slowness, upper_mean

# Steps that are not timed, the fewest that are, and the fraction of the budget that is spent on timing them, in parts.
_WARM_UP, _FEWEST, _FRACTION, _PARTS = 3, 3, 0.03, 8
_MOST_SECONDS = 5.0
# What takes more than this fraction of the budget is not timed again.
_LONG = 0.02
# Seconds for the end of a run, for a logger to finish, and for an exporter that does not say how many it takes; all for
# a small network on a fast and idle machine: see `slowness`.
_END_SECONDS, _LOGGER_SECONDS, _EXPORT_SECONDS = 0.4, 1.5, 4.0


def measured(job: Job, data: Opened, session: Session, budget: float) -> tuple[Speed, int]:
    """Return the speed of a training that is thrown away, and the number of its steps in an epoch."""
    fixed, slow, job = _fixed_seconds(job), slowness(), _to_measure(job)
    with tempfile.TemporaryDirectory(prefix=".budget", dir=session.out.path) as folder:
        try:
            speed, steps_per_epoch = _timed(job, data, _aside(session, Path(folder)), budget)
        except Exception as error:
            if lacks_memory(error):
                raise out_of_memory(job.settings, str(job.device)) from error
            raise
    # What other programs take changes from moment to moment.
    return replace(speed, end=speed.end + fixed * (slow + slowness()) / 2), steps_per_epoch


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
        work = captured(job, work, step, training.plan, aside.console)
        for callback in callbacks:
            callback.on_fit_start(state)
        watchers.saving.finish(state)
        wait_for(state.device)
        start = time.perf_counter() - started
        steps = _Steps(training, work, budget)
        steps.time()
        last, closing, validation = steps.close(watchers.saving)
    end = _passes_seconds(job, data, validation, steps.seconds)
    return Speed(steps.seconds, closing, max(0.0, closing - validation), last, start, end), steps.num_in_epoch


def _fixed_seconds(job: Job) -> float:
    """Return the seconds of the end that do not depend on the data: the report, loggers, exports."""
    exports = [import_target(f"export.{name}", each["_target_"]) for name, each in job.settings.export.items()]
    seconds = [getattr(each, "typical_seconds", _EXPORT_SECONDS) for each in exports]
    return _END_SECONDS + _LOGGER_SECONDS * len(job.composed.config.logger) + sum(seconds)


def _passes_seconds(job: Job, data: Opened, validation: float, step: float) -> float:
    """Return the seconds of the passes at the end over the test and the validation split, and of each export's."""
    if data.valid:
        a_sample = validation / len(data.valid)
        passes, test = a_sample * (len(data.test) + len(data.valid)), a_sample * len(data.test)
    else:
        passes = test = step * len(data.test) / (job.settings.data.batch * job.settings.trainer.accumulate)
    return passes + len(job.settings.export) * test


class _Steps:
    """Takes the first steps of a training. `seconds` is the time of one, as far as is known."""

    def __init__(self, training: Training, work: Work, budget: float) -> None:
        self._state, self._plan, self._work, self._budget = training.state, training.plan, work, budget
        self._batches: Iterator[Batch] | None = None
        self.seconds, self.num_in_epoch = 0.0, -(-work.train.num_batches // training.plan.accumulate)
        # The training itself reports it.
        self._diverged = False

    def time(self) -> None:
        """Take steps until their time is known well enough. Waits for the device.

        On a machine with other work the parts differ more, and a step is taken to be slower.
        """
        self.seconds = self._take(1)
        if self.seconds <= _LONG * self._budget:
            self._take(_WARM_UP - 1)
            enough = min(_FRACTION * self._budget, _MOST_SECONDS)
            parts, spent, num = [self._take(_FEWEST)], 0.0, _FEWEST
            while (spent := spent + parts[-1] * num) < enough and not self._diverged:
                num = max(_FEWEST, math.ceil(enough / _PARTS / max(parts[-1], 1e-9)))
                parts.append(self._take(num))
            self.seconds = upper_mean(parts)

        self._batches = None

    def close(self, saving: Checkpointing) -> tuple[float, float, float]:
        """Return the seconds of the end of the last epoch and of any other, and of the validation in them."""
        state, validations = self._state, [0.0]

        def close() -> None:
            before = state.clock.validation_seconds
            finish_epoch(state, self._work)
            state.progress.validated_step, self._batches = 0, None
            validations.append(state.clock.validation_seconds - before)

        closing = Closing(close, partial(self._take, 1), lambda: saving.is_writing, lambda: saving.finish(state))
        # The training itself reports that it diverges.
        last = other = 0.0
        with suppress(DivergedError):
            last, other = closing_seconds(closing, self.seconds, self.num_in_epoch, _LONG * self._budget)
        self._batches = None
        return last, other, statistics.median_low(validations[2:] or validations[-1:])

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
