"""Train: with callbacks that watch and save, until the plan is done, a callback stops it, or a signal does."""

from __future__ import annotations

import shlex

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
from nnrun.core.seams.problem import Problem
from nnrun.core.state import TrainState
from nnrun.core.transfer.freezing import describe_training
from nnrun.runs.console import Console
from nnrun.tasks.session import Session
from nnrun.tasks.train.memory_advice import out_of_memory


def train(job: Job, data: Opened, problem: Problem, session: Session) -> Training:
    """Train until the plan is done, saving as it goes; on a signal finish the step, save, and say how to go on."""
    trainer, stopping = job.settings.trainer, job.settings.early_stopping
    out, console, stop = session.out, session.console, session.stop
    training = make_training(job, data, problem)
    state, plan = training.state, training.plan
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
    progress = TrainingProgress(console, plan, _samples_per_step(job), rows, bar=console.wants_bar(trainer.progress))
    patience = (stopping.patience, stopping.min_delta) if stopping else (None, 0.0)
    folder = CheckpointFolder(out.path, trainer.keep_last)
    saving = Checkpointing(folder, trainer.checkpoint_every_steps, payload, out.sync_rows)
    callbacks = [rows, EarlyStopping(job.monitor, job.mode, *patience), progress, FirstStep(out), saving]
    for note in training.notes:
        console.say(note)
    check_readable(payload(state))
    start_from(job, state, console, data.targets, callbacks)
    state.set_training()
    console.say(describe_training(state.network))
    if trainer.compile is not False and plan.total_steps > 0:
        say_and_compile(training, console)
    if folder.manifest.best is None:
        # The best weights so far were damaged: there is nothing that a later epoch would have to be better than.
        state.progress.best = None
    with calling("logger"):
        for logger in training.loggers:
            logger.start(out.path, redact(training.tree, known=job.composed.secrets))
    with stop.deferred():
        try:
            with state.clock.fitting():
                work = Work(
                    problem,
                    make_step(trainer, state, problem, callbacks),
                    training.train,
                    training.valid,
                    callbacks,
                    stop.poll,
                )
                work, training.tree["transfer"]["cache"] = keep_features(training.transfer, state, work, plan, console)
                fit(state, work, plan)
        except InterruptedRun as interruption:
            if interruption.at_once:
                raise
            saving.save(state, is_best=False)
            at = state.progress
            place = f"step {at.step:,} (epoch {at.epoch + 1})"
            raise InterruptedRun(
                interruption.exit_code - 128,
                f"stopped at {place}; checkpoint saved; resume with: nnrun {shlex.quote(f'resume={out.path}')}"
                + job.reading(data.preprocessing.to_plain()),
            ) from None
        except DivergedError as error:
            raise DivergedError(*error.messages, f"the last good checkpoint is {folder.last}") from error
        except Exception as error:
            if lacks_memory(error):
                raise ResourceError(out_of_memory(job.settings, str(job.device))) from error
            raise
        finally:
            progress.close()
    if state.progress.stop_reason:
        console.say(f"stopped early: {state.progress.stop_reason}")
    return training


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
