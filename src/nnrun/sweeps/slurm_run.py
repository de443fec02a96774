"""`launch=slurm` without -m: submit a single run to a Slurm cluster, follow its log, and end as it does."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError, InterruptedRun, ResourceError
from nnrun.base.shown import counted
from nnrun.base.signals import stop_request
from nnrun.config.auto import AUTO
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.overrides import parse_all
from nnrun.config.rules import Rules
from nnrun.config.run_name import directory_name_of
from nnrun.runs import directory as rundir
from nnrun.runs.console import Console
from nnrun.sweeps.exchange import Exchange
from nnrun.sweeps.followed_log import FollowedLog
from nnrun.sweeps.orders import leave_status
from nnrun.sweeps.seams import Ended, Order
from nnrun.sweeps.single import Place
from nnrun.sweeps.slurm import CODE, FOLDER, SlurmLauncher
from nnrun.sweeps.slurm_array import SlurmSettings
from nnrun.sweeps.slurm_job import INTERRUPTED
from nnrun.sweeps.slurm_queue import Queue, check_here
from nnrun.tasks.ranks.link import Ended as RankEnded
from nnrun.tasks.ranks.wanted import check_number

# The number of its job among those of the launcher.
_ONE = 0
_LOOK_SECONDS = 0.5
# Where a run is followed that is under way, its last lines come first.
_NUM_LINES = 10
_DEVICES, _PARALLELISM = "trainer.devices", "launch.array_parallelism"
# States in which Slurm has not started a job, or will start it again.
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD")


def run_in_slurm(place: Place, own: Sequence[Path], rules: Rules, note: str | None) -> Mapping[str, Any] | None:
    """Submit a run, or find it in the queue, and follow it to its end; return its result, or raise its error.

    A signal ends this command alone: the run goes on.
    """
    if _PARALLELISM in place.typed:
        raise ConfigError(Complaint(_PARALLELISM, f"{_PARALLELISM} has no effect without -m: it is about many jobs"))
    check_here()
    console, asked, typed = Console(), SlurmSettings(**place.settings), parse_all(place.words, own=own)[0]
    named = next((Path(str(item.value)) for item in typed if item.key == "resume" and item.value), None)
    if named is not None and (job := job_in(named)):
        if more := [*place.typed, *(item.key for item in typed if item.key != "resume")]:
            raise ConfigError(
                f"{named} is the run of Slurm's job {job}, on which {', '.join(more)} would have no effect"
            )
        console.say(f"following Slurm's job {job}, {named}")
        order = Order(_ONE, place.words, named, is_single=True)
        return _follow(order, SlurmLauncher(named, asked, own, console, awaits=False), console, is_new=False)
    composed, settings = _composed(place.words, asked, own, rules)
    if composed.run_dir is not None and (job := job_in(composed.run_dir)):
        raise ConfigError(
            f"hydra.run.dir={composed.run_dir} is in use by Slurm's job {job}; "
            f"follow it with: {_again(composed.run_dir)}"
        )
    for each in filter(None, (note, *composed.notes)):
        console.note(each)
    resumed = composed.resumed.run if composed.resumed is not None else None
    path = resumed or rundir.create(composed.run_dir, directory_name_of(composed))
    (path / FOLDER / str(_ONE) / "submitted.json").unlink(missing_ok=True)
    words, kept = [item.word for item in composed.typed], composed if composed.source is None else None
    order = Order(_ONE, words, path, resumes=resumed is None, composed=kept, is_single=True)
    launcher = SlurmLauncher(path, settings, own, console, awaits=False)
    return _follow(order, launcher, console, is_new=resumed is None)


def job_in(run: Path) -> str | None:
    """Return Slurm's number of the job that trains in a run directory, or waits to; None if there is none."""
    known = Exchange(run / FOLDER / str(_ONE)).read("submitted")
    if known is None:
        return None
    job, queue = str(known.get("slurm")), Queue()
    if not queue.refresh():
        raise ResourceError(f"Slurm does not say whether its job {job} still trains in {run}; try again later")
    return job if queue.is_live(job) else None


def _composed(
    words: Sequence[str], settings: SlurmSettings, own: Sequence[Path], rules: Rules
) -> tuple[Composed, SlurmSettings]:
    """Return the checked config of a run with its number of processes, and the settings with those of each node."""
    composed = compose_config(words, own, rules)
    if composed.task.not_swept is not None:
        raise ConfigError(f"launch=slurm: task={composed.task.name} runs here; leave launch out")
    if any(item.key == "input" and item.value == "-" for item in composed.typed):
        raise ConfigError("input=- cannot be read by a job of Slurm's; give a file, a folder or a pattern")
    size = num_processes(composed, settings)
    if composed.task.trains:
        if size != composed.resolved()["trainer"]["devices"]:
            rest = [item.word for item in composed.typed if item.key != _DEVICES]
            composed = compose_config([*rest, f"{_DEVICES}={size}"], own, rules)
        check_number(composed, size, is_job=False)
    return composed, replace(settings, tasks_per_node=size // settings.nodes)


def num_processes(composed: Composed, settings: SlurmSettings) -> int:
    """Return how many processes train together: trainer.devices, else one for each GPU or, without GPUs, each node.

    Raises ConfigError where they cannot be divided among the nodes.
    """
    nodes, gpus = settings.nodes, settings.gpus_per_node or 0
    if not composed.task.trains:
        if nodes > 1:
            raise ConfigError(
                f"launch.nodes={nodes}: task={composed.task.name} runs on one node; leave launch.nodes out"
            )
        return 1
    trainer = composed.resolved()["trainer"]
    devices, is_free = trainer["devices"], composed.is_default(_DEVICES) and composed.resumed is None
    if devices == AUTO or is_free:
        return int(nodes * max(1, gpus))
    problems = []
    if devices % nodes:
        problems.append(
            f"trainer.devices={devices} counts the processes of all nodes and cannot be divided by launch.nodes={nodes}"
        )
    elif gpus and devices > nodes * gpus and ":" not in trainer["device"] and trainer["device"] != "cpu":
        problems.append(
            f"trainer.devices={devices} needs {counted(devices // nodes, 'GPU')} on each node; "
            f"use launch.gpus_per_node={devices // nodes}"
        )
    if problems:
        raise ConfigError(*problems)
    return int(devices)


def _again(run: Path) -> str:
    """Return the command that follows a run in Slurm."""
    return f"nnrun launch=slurm {shlex.quote(f'resume={run}')}"


def _follow(order: Order, launcher: SlurmLauncher, console: Console, *, is_new: bool) -> Mapping[str, Any] | None:
    """Submit a run unless it is in the queue; print its log until it ends; return its result, or raise its error."""
    run = order.directory
    with stop_request():
        try:
            launcher.start(order)
            ended = _end(run, launcher, console)
        except InterruptedRun as error:
            if (job := launcher.number_of(_ONE)) is None:
                raise
            told = (
                f"job {job} goes on; follow it with: {_again(run)}",
                f"end it with: scancel {job} (it saves a checkpoint first)",
            )
            raise InterruptedRun(error.exit_code - 128, *told) from error
        finally:
            if is_new and launcher.number_of(_ONE) is None:
                _remove(run)
    return _result(ended, run, launcher.number_of(_ONE))


def _end(run: Path, launcher: SlurmLauncher, console: Console) -> Ended:
    """Wait for the end of a run, and return it; meanwhile print the run's log, and say where its job is."""
    log, job, state = FollowedLog(run / "run.log", console), launcher.number_of(_ONE), ""
    log.skip(num_kept=0 if job is None else _NUM_LINES)
    while True:
        events = launcher.wait(_LOOK_SECONDS)
        if job is None and (job := launcher.number_of(_ONE)):
            console.say(f"submitted as Slurm's job {job}; run directory {run}")
        log.show()
        for event in events:
            if isinstance(event, Ended):
                return event
        state = _tell_state(str(job), state, launcher.state_of(_ONE), console)


def _tell_state(job: str, before: str, found: tuple[str, str] | None, console: Console) -> str:
    """Say that a job waits, or waits again; return its state, or the one before where Slurm did not say any."""
    if found is None:
        return before
    state, reason = found
    if state in _WAITING and before not in _WAITING:
        then = "; it will resume from its last checkpoint" if before else ""
        console.say(f"job {job} waits in Slurm's queue ({reason}){then}")
    return state


def _remove(run: Path) -> None:
    """Remove the directory of a run that was not submitted, but for what was there before."""
    for name in (FOLDER, CODE):
        shutil.rmtree(run / name, ignore_errors=True)
    with suppress(OSError):
        run.rmdir()


def _result(ended: Ended, run: Path, job: str | None) -> Mapping[str, Any] | None:
    """Return the result of a run that ended well; raise the error of another."""
    outcome = Exchange(run / FOLDER / str(_ONE)).read("outcome")
    code, reason = ended.exit_code, ended.reason
    if outcome is not None and outcome["exit_code"] in INTERRUPTED:  # cancelled: it has saved before Slurm ended it
        code, reason = outcome["exit_code"], outcome["reason"]
    leave_status(run, code, reason)
    if code == 0:
        return ended.summary
    where = run / FOLDER / f"{job}_0_log.err"
    told = reason.splitlines() or [f"job {job} ended with exit code {code}; its output is in {where}"]
    raise RankEnded(code, told, ended.summary).error()
