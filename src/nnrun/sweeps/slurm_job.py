"""A job on a node of a cluster: a process that trains, and one beside it that talks to Slurm and to the sweep.

The training is a process of its own (`python -m nnrun.sweeps.slurm_job FOLDER`): it stops as after SIGTERM, between
two steps, while the other one waits for its checkpoint in the handler of Slurm's signal, and puts the job back into the
queue. Whether a start resumes is decided by what is on the disk, so that a node that failed needs no farewell.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_messages import guard_libraries
from nnrun.base.guard import guard, leave_with, watch
from nnrun.base.listening import Validated, heard_by
from nnrun.base.ranks import become_rank, this_rank
from nnrun.base.signals import StopRequest, stop_request
from nnrun.config.auto import AUTO
from nnrun.sweeps.exchange import Exchange
from nnrun.sweeps.frozen import freeze, thaw
from nnrun.sweeps.orders import carry_out
from nnrun.sweeps.seams import Decision, Order
from nnrun.sweeps.workers.endings import ending_of, out_of_time
from nnrun.tasks.ranks.wanted import rank_given
from nnrun.tasks.rules import collect_rules

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# The job as it was checked, with the secrets of its config: removed at its end.
JOB_FILE = "job.pickle"
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
# A training that hears a signal before it handles any ends so.
_AT_ONCE = tuple(-number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP))
_LOOK_SECONDS = 0.2
# How long a job that heard SIGTERM waits for Slurm to say whether it is requeued or cancelled: by ending it.
_UNTIL_KILLED_SECONDS = 600.0
# How long a job waits for the decision of a sweep, which may have been killed.
_UNANSWERED_SECONDS = 120.0


def save_order(path: Path, order: Order, own: Sequence[Path], modules: Sequence[Path], *, awaits: bool) -> None:
    """Write a job for its node, readable by its owner alone: its words, and its config as it was checked.

    `own` and `modules` are the copies of the user's config folders and of the folders of their modules. A job that
    names a checkpoint has no config here; it composes its words with those folders.
    """
    frozen = None if order.composed is None else freeze(order.composed)
    # A run whose words say `resume=` has them as they are at each start.
    resumes = order.resumes or not order.is_single
    plain = (order.number, list(order.words), str(order.directory), frozen, resumes, order.is_single)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        pickle.dump((*plain, list(map(str, own)), list(map(str, modules)), awaits), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def run_job(folder: Path) -> int:
    """Train the job that is in a folder, or resume it, as one of its tasks; return the exit code.

    The first writes how that ended.
    """
    guard_libraries()
    saved = pickle.loads((folder / JOB_FILE).read_bytes())
    number, words, directory, frozen, resumes, is_single, own, modules, awaits = saved
    if is_single and (rank := rank_given(os.environ, AUTO)):
        become_rank(rank)
    # Before the folders that are searched otherwise: these may have changed.
    sys.path.extend(modules)
    rules, exchange = collect_rules(), Exchange(folder)
    composed = None if frozen is None else thaw(frozen, rules)
    order = Order(number, words, Path(directory), resumes, composed, is_single=is_single)
    with stop_request() as stop, heard_by(partial(_tell, exchange, stop, awaits)):
        ended = carry_out(order, [Path(path) for path in own], rules)
    summary = None if ended.summary is None else dict(ended.summary)
    if this_rank().is_first:
        exchange.write("outcome", exit_code=ended.exit_code, reason=ended.reason, summary=summary)
    return ended.exit_code


def _tell(exchange: Exchange, stop: StopRequest, awaits: bool, validated: Validated) -> None:
    """Report a validation; if the search decides on it, wait for that, and request a stop if it says so.

    If the sweep does not answer, because it was killed, the training continues.
    """
    awaits = awaits and not validated.is_last
    sequence = exchange.report(validated.epoch, validated.step, validated.metrics, awaits=awaits)
    until = time.monotonic() + _UNANSWERED_SECONDS
    while awaits and stop.heard is None and time.monotonic() < until:
        if (decision := exchange.decision(sequence)) is not None:
            if decision is not Decision.GO_ON:
                stop.note(signal.SIGTERM)
            return
        time.sleep(_LOOK_SECONDS)


class ClusterJob:
    """What submitit calls on the node; `checkpoint` is called in the handler of the signal before a requeue.

    Of a job with several tasks, each trains as a rank; the first alone writes, and has `checkpoint` called.
    """

    def __init__(self, folder: Path, most_minutes: float | None) -> None:
        self._folder = folder
        self._most_minutes = most_minutes

    def __call__(self) -> int:
        """Train in a process of its own; return its exit code, once it is final."""
        self._exchange, self._began = Exchange(self._folder), time.monotonic()
        self._is_terminated, self._is_first = False, os.environ.get("SLURM_PROCID", "0") == "0"
        if self._is_first:
            for name in ("outcome.json", "ended.json"):
                (self._folder / name).unlink(missing_ok=True)
            self._exchange.write("begun", node=socket.gethostname())
        # -P: the current folder must not come before the snapshot of its modules.
        command = [sys.executable, "-P", "-m", "nnrun.sweeps.slurm_job", str(self._folder)]
        self._training = subprocess.Popen(command, env=_surroundings())
        signal.signal(signal.SIGTERM, self._note)
        try:
            code = self._wait()
        except Exception as error:  # of submitit, from its handler: the job is not requeued
            if self._is_first and self._exchange.read("ended") is None:
                reason = f"{error} Its checkpoint is saved; set larger launch.minutes or launch.requeues"
                self._write_end(exit_code=ResourceError.exit_code, reason=reason, summary=None, may_succeed=False)
            raise
        if self._is_first:
            self._end(code)
        return code

    def checkpoint(self) -> DelayedSubmission | None:
        """Let the training save and stop; return what to requeue: the same job, which resumes. None if it has ended."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415 - an extra, and only here

        if not _has_ended(self._training):
            self._training.terminate()
        while not _has_ended(self._training):
            time.sleep(_LOOK_SECONDS)
        outcome = self._exchange.read("outcome")
        if outcome is not None and (outcome["exit_code"] not in INTERRUPTED or self._exchange.is_told_to_end):
            self._end(outcome["exit_code"])
            return None
        self._exchange.write("spent", seconds=self._seconds())
        return DelayedSubmission(ClusterJob(self._folder, self._most_minutes))

    def _wait(self) -> int:
        """Wait for the training, and stop it if the sweep says so; return its exit code."""
        is_told = False
        while not _has_ended(self._training):
            if not is_told and (is_told := self._exchange.read("stop") is not None):
                self._training.terminate()
            if self._is_out_of_time():
                self._training.kill()
            time.sleep(_LOOK_SECONDS)
        code = self._training.wait()
        if code in (*INTERRUPTED, *_AT_ONCE) and not self._exchange.is_told_to_end and self._is_terminated:
            # Preempted, or cancelled: Slurm knows which, and ends this process either way.
            time.sleep(_UNTIL_KILLED_SECONDS)
        return code

    def _is_out_of_time(self) -> bool:
        return self._most_minutes is not None and time.monotonic() - self._began > self._most_minutes * 60

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        """Hand SIGTERM on."""
        self._is_terminated = True
        if not _has_ended(self._training):
            self._training.terminate()

    def _end(self, code: int) -> None:
        """Tell the sweep how the job ended: as the training said, or by the signal that ended it."""
        outcome = self._exchange.read("outcome")
        if outcome is not None:
            may_succeed = outcome["exit_code"] == ResourceError.exit_code
            self._write_end(outcome["exit_code"], outcome["reason"], outcome["summary"], may_succeed=may_succeed)
            return
        is_late = self._most_minutes is not None and self._is_out_of_time()
        ending = out_of_time(self._most_minutes or 0) if is_late else ending_of(code)
        reason = ending.reason + (" (launch.mem_gb)" if code == -signal.SIGKILL and not is_late else "")
        may_succeed = ending.exit_code == ResourceError.exit_code and not is_late
        self._write_end(ending.exit_code, reason, None, may_succeed=may_succeed)

    def _write_end(self, exit_code: int, reason: str, summary: Any, *, may_succeed: bool) -> None:
        values = {"exit_code": exit_code, "reason": reason, "summary": summary, "may_succeed": may_succeed}
        self._exchange.write("ended", **values, seconds=self._seconds())
        (self._folder / JOB_FILE).unlink(missing_ok=True)

    def _seconds(self) -> float:
        """Return how long the job ran, in all its starts."""
        earlier = (self._exchange.read("spent") or {}).get("seconds", 0.0)
        return round(float(earlier) + time.monotonic() - self._began, 3)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended. Popen.poll could wait in a signal handler for the lock of its own caller."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _surroundings() -> dict[str, str]:
    """Return the environment of the training: torch uses the cores that Slurm gave, not those of the whole node."""
    found = dict(os.environ)
    if cores := found.get("SLURM_CPUS_PER_TASK"):
        found.setdefault("OMP_NUM_THREADS", cores)
    return found


if __name__ == "__main__":
    guard()
    watch()
    leave_with(run_job(Path(sys.argv[1])))
