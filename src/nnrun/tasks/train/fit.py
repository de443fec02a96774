"""Train, with callbacks that watch and save, until the plan is done, or a callback or a signal stops it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from nnrun.assembly.capture import captured
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.seen import seen_of
from nnrun.assembly.initial_weights import start_from
from nnrun.assembly.job import Job
from nnrun.assembly.sharding import describe_division
from nnrun.assembly.training import Training, make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.assembly.watching import Watch, known_of, make_watch, parts_of
from nnrun.base.errors import ConfigError, DivergedError, InterruptedRun
from nnrun.base.foreign_errors import lacks_memory
from nnrun.base.listening import listener
from nnrun.base.secrets import redact
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.payload import Payload
from nnrun.checkpoints.saveable import check_readable
from nnrun.components.callbacks.checkpointing import Checkpointing
from nnrun.components.callbacks.early_stopping import EarlyStopping
from nnrun.components.callbacks.first_step import FirstStep
from nnrun.components.callbacks.health import Health
from nnrun.components.callbacks.memory import tell_memory
from nnrun.components.callbacks.metrics import MetricRows
from nnrun.components.callbacks.network_logs import NetworkLogs
from nnrun.components.callbacks.progress import TrainingProgress
from nnrun.config.from_checkpoint import saved_config
from nnrun.core.clock import Clock
from nnrun.core.compile import compile_network
from nnrun.core.fitting import fitting
from nnrun.core.laps import Laps
from nnrun.core.objective import Objective
from nnrun.core.seams.callback import Callback, states_of
from nnrun.core.seams.problem import Sums
from nnrun.core.seams.world import World
from nnrun.core.state import TrainState
from nnrun.core.transfer.freezing import describe_training
from nnrun.core.work import Work, poll_together
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.replay.record import TASK as REPLAY
from nnrun.tasks.session import Session
from nnrun.tasks.train.memory_advice import out_of_memory
from nnrun.tasks.train.odd_steps import keep_odd_steps


@dataclass(frozen=True)
class Watchers:
    """The callbacks of a training by name, in the order of their calls, and those that are also used directly."""

    callbacks: dict[str, Callback]
    rows: MetricRows
    progress: TrainingProgress
    saving: Checkpointing
    folder: CheckpointFolder
    watch: Watch
    # Returns the content of a checkpoint for the current state.
    payload: Callable[[TrainState], Payload]


def train(job: Job, data: Opened, objective: Objective, session: Session, world: World) -> Training:
    """Train until the plan is done, and save checkpoints; on a signal finish the step, save, and say how to resume."""
    console, stop = session.console, session.stop
    training = make_training(job, data, objective, world)
    state, plan = training.state, training.plan
    watchers = make_watchers(job, data, objective, training, session)
    for note in training.notes:
        console.say(note)
    check_readable(watchers.payload(state))
    start_from(job, state, console, data.targets, watchers.callbacks)
    world.broadcast(each for network in (state.network, state.evaluated) for each in network.state_dict().values())
    state.set_training()
    console.say(describe_training(state.network))
    if training.layers is not None:
        divide(training, world, console)
    if job.settings.trainer.compile is not False and plan.total_steps > 0:
        say_and_compile(training, console)
    if not world.agree(watchers.folder.manifest.best is not None):
        # The best weights so far were damaged: there is nothing for a later epoch to beat.
        state.progress.best = None
    config = redact(training.tree, known=job.composed.secrets)
    session.start_loggers(training.loggers, config, state.progress.step, state.progress.num_rows)
    first_step = state.progress.step
    with stop.deferred(), watchers.saving:
        try:
            _fit(job, objective, training, watchers, session)
        except InterruptedRun as interruption:
            if interruption.at_once:
                raise
            watchers.saving.save(state, is_best=False)
            watchers.saving.finish(state)
            going_on = shlex.quote(f"resume={session.out.path}") + job.reading(data.preprocessing.to_plain())
            raise _stopped(interruption, state, going_on) from None
        except DivergedError as error:
            watchers.saving.finish(state)
            last = watchers.folder.last
            run = shlex.quote(f"ckpt={session.out.path}") + job.reading(data.preprocessing.to_plain())
            ways_on = f"the last good checkpoint is {last}", f"to see where it begins: nnrun task={REPLAY.name} {run}"
            raise DivergedError(*error.messages, *ways_on) from error
        except Exception as error:
            if lacks_memory(error):
                raise out_of_memory(job.settings, str(job.device)) from error
            raise
        finally:
            watchers.progress.close()
            keep_odd_steps(session.out.path, training, first_step)
            tell_of_training(session.reached, state, watchers)
    if state.progress.stop_reason:
        console.say(f"stopped early: {state.progress.stop_reason}")
    if state.progress.best is None and math.isnan(watchers.rows.newest.get(job.monitor, 0.0)):
        console.note(
            f"{job.monitor} was NaN in every validation, so no weights are the best by it: the newest are used; "
            "set another early_stopping.monitor, or a larger data.val_fraction"
        )
    return training


def best_sums(job: Job, training: Training) -> Sums | None:
    """Return the sums of the best weights' validation, if validating again in this process would give the same bits.

    A GPU may choose other kernels, and a compiled network or cached features are computed differently, as are sums over
    several ranks. A callback of the user's own may change the weights after a validation, before they are saved.
    """
    state = training.state
    if training.callbacks or state.world.size > 1:
        return None
    is_plain = state.eval_module is state.evaluated and not training.compilation.enabled
    is_same = job.device.type == "cpu" and is_plain and not training.tree["transfer"]["cache"]
    return state.best_sums if is_same else None


def make_watchers(job: Job, data: Opened, objective: Objective, training: Training, session: Session) -> Watchers:
    """Return the callbacks that log a training, show it, stop it early and save it."""
    trainer, stopping = job.settings.trainer, job.settings.early_stopping
    out, console = session.out, session.console
    threads, seen = torch.get_num_threads(), seen_of(data)

    def payload(state: TrainState) -> Payload:
        return {
            "model": state.world.whole(state.evaluated),
            "training": state.state_dict() | {"callbacks": states_of(callbacks)},
            "config": saved_config(training.tree, job.composed.secrets),
            "targets": data.targets.to_plain(),
            "preprocessing": data.preprocessing.to_plain(),
            "data_fingerprint": data.fingerprint,
            "threads": threads,
            "seen": seen,
            "problem": objective.problem.state_dict(),
        }

    health = Health(known_of(job, data, objective), partial(warn, session), out.read_rows)
    rows = MetricRows(out, objective, trainer.log_every_steps, session.loggers, health.take)
    watch = make_watch(job, health.units, out, training.plan.total_steps, console)
    progress = TrainingProgress(console, training.plan, _samples_per_step(job), rows)
    patience, min_delta = (stopping.patience, stopping.min_delta) if stopping else (None, 0.0)
    counted = "epochs" if trainer.validate_every_steps is None else "validations"
    folder = CheckpointFolder(out.path, trainer.keep_last)
    saving = Checkpointing(folder, trainer.checkpoint_every_steps, payload, out.sync_rows)
    # Checkpointing comes last: a save includes what the others record of the step or the epoch.
    callbacks: dict[str, Callback] = {
        "rows": rows,
        "first_step": FirstStep(out),
        "early_stopping": EarlyStopping(job.monitor, job.mode, patience, min_delta, counted),
        **training.callbacks,
        **watch.callbacks,
        "nnrun.health": health,
        "progress": progress,
        "checkpointing": saving,
    }
    return Watchers(callbacks, rows, progress, saving, folder, watch, payload)


def tell_of_training(reached: Summary, state: TrainState, watchers: Watchers) -> None:
    """Record in a summary how far the training came, its newest metrics, and where its time went."""
    at, clock = state.progress, state.clock
    reached.best = {"epoch": at.best.epoch, "step": at.best.step} if at.best else None
    reached.metrics = dict(watchers.rows.newest)
    reached.train = {
        "steps": at.step,
        "epochs": at.epoch,
        "samples_per_second": clock.num_samples / clock.seconds if clock.seconds else None,
        "seconds": clock.seconds,
        "validation_seconds": clock.validation_seconds,
        "checkpoint_seconds": clock.saving_seconds,
        "checkpoint_background_seconds": clock.writing_seconds,
        "checkpoint_fraction": clock.saving_seconds / clock.fit_seconds if clock.fit_seconds else None,
        "skipped_updates": state.watch.num_skipped,
        "stop_reason": at.stop_reason,
        "step_seconds": step_parts(clock, watchers.watch.laps),
    }


def step_parts(clock: Clock, laps: Laps | None) -> dict[str, float]:
    """Return the seconds of each part of the steps, if trainer.watch=time or trainer.profile told of them.

    On a GPU they are known for a few steps, whose shares are taken for those of all.
    """
    timed = sum(laps.seconds.values()) if laps is not None else 0.0
    return {part: clock.seconds * each / timed for part, each in laps.seconds.items()} if laps and timed else {}


def warn(session: Session, text: str) -> None:
    """Print a warning, and keep it for the summary."""
    session.console.note(text)
    session.reached.warnings.append(text)


def _fit(job: Job, objective: Objective, training: Training, watchers: Watchers, session: Session) -> None:
    """Fit the network, or only its head on cached features if the backbone is frozen and caching pays."""
    state, callbacks = training.state, list(watchers.callbacks.values())
    takes_network = state.world.is_first and any(map(session.loggers.take, ("graph", "histograms")))
    if takes_network and training.layers is not None:
        raise ConfigError("trainer.strategy=fsdp excludes loggers that take the network's graph or histograms")
    if takes_network:
        # Before the rows: it is no part of the checkpoint, which the last of them saves.
        callbacks = [NetworkLogs(session.loggers, training.train, training.plan), *callbacks]
    with state.clock.fitting():
        step = make_step(job.settings.trainer, state, objective, callbacks, watchers.watch.mark)
        poll = poll_together(session.stop.poll, state.world)
        if tell := listener():
            from nnrun.components.callbacks.telling import Telling  # noqa: PLC0415 - nobody listens to a plain run

            num_batches, rows = training.train.num_batches, session.out.read_rows
            callbacks.append(Telling(tell, training.plan, num_batches, poll, rows))
        work = Work(objective, step, training.train, training.valid, callbacks, poll)
        is_cached = False
        if training.layers is None:
            work, is_cached = keep_features(training.transfer, state, work, training.plan, session.console)
        training.tree["transfer"]["cache"] = is_cached
        work = captured(job, work, step, training.plan, session.console)
        fitting()(state, work, training.plan)
    if "memory" in parts_of(job.settings.trainer.watch):
        tell_memory(state.device, session.console.record)


def _stopped(interruption: InterruptedRun, state: TrainState, going_on: str) -> InterruptedRun:
    """Return the error to report for a training that a signal stopped and that is saved."""
    at = state.progress
    place = f"step {at.step:,} (epoch {at.epoch + 1})"
    return InterruptedRun(
        interruption.exit_code - 128, f"stopped at {place}; checkpoint saved; resume with: nnrun {going_on}"
    )


def say_and_compile(training: Training, console: Console) -> None:
    """Compile the network if that was chosen; say what was chosen and why."""
    if not training.compilation.enabled:
        console.say(f"not compiled ({training.compilation.reason})")
        return
    inputs, _ = training.train.take(training.train.order(0)[0])
    seconds = compile_network(training.state, inputs)
    console.say(f"compiled in {seconds:.1f} s ({training.compilation.reason})")


def divide(training: Training, ranks: World, console: Console) -> None:
    """Divide the network, and what trains it, among the processes; say how."""
    from nnrun.core.process_group import ProcessGroup  # noqa: PLC0415 - only for several processes
    from nnrun.core.sharded import shard  # noqa: PLC0415 - only for such a training

    assert isinstance(ranks, ProcessGroup)
    assert training.layers is not None
    console.say(describe_division(training.state.network, training.layers, ranks.size))
    shard(training.state, ranks, training.layers)


def _samples_per_step(job: Job) -> int:
    """Return the number of samples per optimizer update."""
    return job.settings.data.batch * job.settings.trainer.accumulate
