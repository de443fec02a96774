"""Train: with callbacks that watch and save, until the plan is done, a callback stops it, or a signal does."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.seen import seen_of
from nnrun.assembly.initial_weights import start_from
from nnrun.assembly.job import Job
from nnrun.assembly.training import Training, make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.base.errors import DivergedError, InterruptedRun, ResourceError
from nnrun.base.foreign_errors import calling, lacks_memory
from nnrun.base.secrets import redact
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.payload import Payload
from nnrun.checkpoints.saveable import check_readable
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.components.callbacks.early_stopping import EarlyStopping
from nnrun.components.callbacks.first_step import FirstStep
from nnrun.components.callbacks.metrics import MetricRows
from nnrun.components.callbacks.progress import TrainingProgress
from nnrun.config.from_checkpoint import saved_config
from nnrun.core.compile import compile_network
from nnrun.core.loop import Work, fit
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.problem import Problem
from nnrun.core.state import TrainState
from nnrun.core.transfer.freezing import describe_training
from nnrun.runs.console import Console
from nnrun.tasks.session import Session
from nnrun.tasks.train.memory_advice import out_of_memory


@dataclass(frozen=True)
class Watchers:
    """The callbacks of a training, in the order in which they are called, and what else is asked of some of them."""

    callbacks: list[Callback]
    progress: TrainingProgress
    saving: Checkpointing
    folder: CheckpointFolder
    # What a checkpoint holds of the training as it stands.
    payload: Callable[[TrainState], Payload]


def train(job: Job, data: Opened, problem: Problem, session: Session) -> Training:
    """Train until the plan is done, saving as it goes; on a signal finish the step, save, and say how to go on."""
    console, stop = session.console, session.stop
    training = make_training(job, data, problem)
    state, plan = training.state, training.plan
    watchers = make_watchers(job, data, problem, training, session)
    for note in training.notes:
        console.say(note)
    check_readable(watchers.payload(state))
    start_from(job, state, console, data.targets, watchers.callbacks)
    state.set_training()
    console.say(describe_training(state.network))
    if job.settings.trainer.compile is not False and plan.total_steps > 0:
        say_and_compile(training, console)
    if watchers.folder.manifest.best is None:
        # The best weights so far were damaged: there is nothing that a later epoch would have to be better than.
        state.progress.best = None
    with calling("logger"):
        for logger in training.loggers:
            logger.start(session.out.path, redact(training.tree, known=job.composed.secrets))
    with stop.deferred():
        try:
            _fit(job, problem, training, watchers, session)
        except InterruptedRun as interruption:
            if interruption.at_once:
                raise
            watchers.saving.save(state, is_best=False)
            going_on = shlex.quote(f"resume={session.out.path}") + job.reading(data.preprocessing.to_plain())
            raise _stopped(interruption, state, going_on) from None
        except DivergedError as error:
            last = watchers.folder.last
            raise DivergedError(*error.messages, f"the last good checkpoint is {last}") from error
        except Exception as error:
            if lacks_memory(error):
                raise ResourceError(out_of_memory(job.settings, str(job.device))) from error
            raise
        finally:
            watchers.progress.close()
    if state.progress.stop_reason:
        console.say(f"stopped early: {state.progress.stop_reason}")
    return training


def make_watchers(job: Job, data: Opened, problem: Problem, training: Training, session: Session) -> Watchers:
    """Return the callbacks that log a training, show it, stop it early and save it."""
    trainer, stopping = job.settings.trainer, job.settings.early_stopping
    out, console = session.out, session.console
    threads, seen = torch.get_num_threads(), seen_of(data)

    def payload(state: TrainState) -> Payload:
        return {
            "model": state.evaluated.state_dict(),
            "training": state.state_dict(callbacks),
            "config": saved_config(training.tree, job.composed.secrets),
            "targets": data.targets.to_plain(),
            "preprocessing": data.preprocessing.to_plain(),
            "data_fingerprint": data.fingerprint,
            "threads": threads,
            "seen": seen,
        }

    rows = MetricRows(out, problem.train_metric, trainer.log_every_steps, training.loggers)
    bar = console.wants_bar(trainer.progress)
    progress = TrainingProgress(console, training.plan, _samples_per_step(job), rows, bar=bar)
    patience = (stopping.patience, stopping.min_delta) if stopping else (None, 0.0)
    folder = CheckpointFolder(out.path, trainer.keep_last)
    saving = Checkpointing(folder, trainer.checkpoint_every_steps, payload, out.sync_rows)
    callbacks = [rows, EarlyStopping(job.monitor, job.mode, *patience), progress, FirstStep(out), saving]
    return Watchers(callbacks, progress, saving, folder, payload)


def _fit(job: Job, problem: Problem, training: Training, watchers: Watchers, session: Session) -> None:
    """Fit the network; where the backbone is frozen, to features that are computed once, if that pays."""
    state, callbacks = training.state, watchers.callbacks
    with state.clock.fitting():
        step = make_step(job.settings.trainer, state, problem, callbacks)
        work = Work(problem, step, training.train, training.valid, callbacks, session.stop.poll)
        work, is_cached = keep_features(training.transfer, state, work, training.plan, session.console)
        training.tree["transfer"]["cache"] = is_cached
        fit(state, work, training.plan)


def _stopped(interruption: InterruptedRun, state: TrainState, going_on: str) -> InterruptedRun:
    """Return what is said of a training that a signal stopped, now that it is saved."""
    at = state.progress
    place = f"step {at.step:,} (epoch {at.epoch + 1})"
    return InterruptedRun(
        interruption.exit_code - 128, f"stopped at {place}; checkpoint saved; resume with: nnrun {going_on}"
    )


def say_and_compile(training: Training, console: Console) -> None:
    """Compile the network where that was chosen; say what was chosen and why."""
    if not training.compilation.enabled:
        console.say(f"not compiled ({training.compilation.reason})")
        return
    inputs, _ = training.train.take(training.train.order(0)[0])
    seconds = compile_network(training.state, inputs)
    console.say(f"compiled in {seconds:.1f} s ({training.compilation.reason})")


def _samples_per_step(job: Job) -> int:
    """Return how many samples an update takes."""
    return job.settings.data.batch_size * job.settings.trainer.accumulate
