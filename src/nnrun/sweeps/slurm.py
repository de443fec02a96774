"""`launch=slurm`: run the jobs of a sweep in arrays of a Slurm cluster, through submitit."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from nnrun.base.errors import ResourceError
from nnrun.base.signals import in_force
from nnrun.runs.console import Console
from nnrun.sweeps.code_snapshot import Snapshot, take_snapshot
from nnrun.sweeps.exchange import Exchange
from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Order
from nnrun.sweeps.slurm_array import ControllerBusy, SlurmSettings, submit_array
from nnrun.sweeps.slurm_job import INTERRUPTED, JOB_FILE, ClusterJob, save_order
from nnrun.sweeps.slurm_queue import Queue, cancel, check_here
from nnrun.sweeps.workers.checking import check_apart
from nnrun.sweeps.workers.starter import Starter

# In the folder of a sweep: what submitit writes, and a folder for each job; the copy of the user's code.
FOLDER, CODE = "slurm", "code"
_LOOK_SECONDS = 0.5
_QUEUE_SECONDS = 5.0
# How long a job that left the queue may take to show its last file: shared folders are seen late elsewhere.
_LATE_SECONDS = 10.0
# How long a controller that does not answer is asked again.
_PATIENCE_SECONDS = 300.0
_TERMINATED = 143
_JOB_ID = re.compile(r"\d+(_\d+)?")


@dataclass
class _Job:
    """A job that was handed to Slurm, or will be with the next array."""

    order: Order
    exchange: Exchange
    slurm: str | None = None
    gone_since: float | None = None


def launch(setup: LaunchSetup) -> SlurmLauncher:
    """Return the launcher of a sweep whose settings say `launch=slurm`."""
    settings = SlurmSettings(**setup.own_settings)
    launcher = SlurmLauncher(setup.folder, settings, setup.own, setup.console, awaits=setup.awaits)
    launcher.most_minutes = setup.settings.job_minutes
    return launcher


class SlurmLauncher:
    """Run jobs in a Slurm cluster. Orders wait until `wait` is called, which submits all of them as one array.

    The config of a job, as it was checked, and a copy of the user's code are in the folder of the sweep, which all
    machines must see. If the jobs `await`, each waits after a validation for the decision of the search.
    """

    def __init__(
        self, folder: Path, settings: SlurmSettings, own: Sequence[Path], console: Console, *, awaits: bool
    ) -> None:
        """Raises ResourceError where the package or Slurm itself is missing."""
        check_here()
        self._settings, self._awaits, self._own, self._console = settings, awaits, own, console
        # How long a start of a job may take: `sweep.job_minutes`.
        self.most_minutes: float | None = None
        self._folder = folder.absolute() / FOLDER
        self._snapshot: Snapshot | None = None
        self._jobs: dict[int, _Job] = {}
        # Slurm's numbers of all that were submitted, or found in its queue.
        self._numbers: dict[int, str] = {}
        self._queue, self._asked_at = Queue(), 0.0
        self._busy_since: float | None = None
        self._is_stopping = False

    @property
    def num_slots(self) -> int:
        """How many jobs run at once."""
        return self._settings.array_parallelism

    def check(self, orders: Sequence[Order]) -> Sequence[Ended]:
        """Run the checks in a process of this machine, but for those of the device: this one may have none."""
        with closing(Starter()) as starter:
            return check_apart(starter, orders, self._own, is_here=False, say=self._console.note)

    def start(self, order: Order) -> None:
        """Take a job for the next array. One that waits, runs or ended in Slurm while no sweep looked is followed."""
        folder = self._folder / str(order.number)
        folder.mkdir(parents=True, exist_ok=True)
        job = _Job(order, Exchange(folder))
        known = job.exchange.read("submitted")
        if known is not None and _JOB_ID.fullmatch(str(known.get("slurm"))):
            end = job.exchange.ended(order.number)
            has_result = end is not None and end.exit_code not in INTERRUPTED
            if has_result or (end is None and self._is_in_queue(known["slurm"])):
                job.slurm = self._numbers[order.number] = known["slurm"]
                job.exchange.skip_answered()
        if job.slurm is None:
            self._copy_code()
        self._jobs[order.number] = job

    def wait(self, seconds: float) -> Sequence[Event]:
        """Submit what was started; return what happened, at once if something did, after `seconds` at the latest."""
        until = time.monotonic() + seconds
        while True:
            self._submit()
            events = self._news()
            left = until - time.monotonic()
            if events or left <= 0:
                return events
            time.sleep(min(_LOOK_SECONDS, left))

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the last Progress of a job."""
        if job := self._jobs.get(number):
            job.exchange.answer(decision)

    def stop(self) -> None:
        """Ask the running jobs to save and stop; remove those that wait from the queue."""
        self._is_stopping = True
        for job in self._jobs.values():
            job.exchange.write("stop")
        cancel((job.slurm for job in self._jobs.values() if job.slurm), only_waiting=True)

    def number_of(self, number: int) -> str | None:
        """Return Slurm's number of a job; None as long as it is not submitted."""
        return self._numbers.get(number)

    def state_of(self, number: int) -> tuple[str, str] | None:
        """Return the state of a job and the reason for it, in Slurm's words; None where it is not known."""
        slurm = self.number_of(number)
        return None if slurm is None else self._queue.state(slurm)

    def close(self) -> None:
        """Cancel what still waits or runs; remove the files that hold secrets."""
        cancel(job.slurm for job in self._jobs.values() if job.slurm)
        for job in self._jobs.values():
            self._forget(job)
        self._jobs.clear()

    def _copy_code(self) -> Snapshot:
        """Return the copy of the user's code, which is made before the first job."""
        if self._snapshot is None:
            self._snapshot = take_snapshot(self._own, self._folder.with_name(CODE))
            if self._snapshot.is_changed:
                folder = self._snapshot.folder
                self._console.note(f"the code has changed since the first start: jobs that start now run {folder}")
        return self._snapshot

    def _has_begun(self, job: _Job) -> bool:
        return job.exchange.read("begun") is not None

    def _is_in_queue(self, slurm: str) -> bool:
        """Return whether a job waits or runs; raise ResourceError where Slurm does not say: it would run twice."""
        if not self._queue.refresh():
            raise ResourceError(f"Slurm does not say whether its job {slurm} still runs; try again when squeue answers")
        return self._queue.is_live(slurm)

    def _submit(self) -> None:
        """Submit the jobs that were started since, as one array; if the controller is busy, later."""
        fresh = [job for job in self._jobs.values() if job.slurm is None]
        if not fresh or self._is_stopping:
            return
        for job in fresh:
            job.exchange.clear()
            job.exchange.skip_earlier()
            self._save(job)
        self._hand_over(fresh)

    def _hand_over(self, fresh: Sequence[_Job]) -> None:
        """Hand jobs to Slurm as one array; if its controller is busy, only at a later call."""
        calls = [ClusterJob(job.exchange.folder, self.most_minutes) for job in fresh]
        # No signal may come between the submission and its record.
        with in_force().held():
            try:
                names = submit_array(self._settings, self._folder, f"nnrun-{self._folder.parent.name}", calls)
            except ControllerBusy as error:
                self._busy_since = self._busy_since or time.monotonic()
                if time.monotonic() - self._busy_since > _PATIENCE_SECONDS:
                    raise ResourceError(str(error)) from error
                time.sleep(_QUEUE_SECONDS)
                return
            for job, name in zip(fresh, names, strict=True):
                job.slurm = self._numbers[job.order.number] = name
                job.exchange.write("submitted", slurm=name)
        self._busy_since = None
        self._asked_at = time.monotonic()

    def _save(self, job: _Job) -> None:
        """Write a job for its node, on the copies of the user's folders."""
        copies, composed = self._copy_code(), job.order.composed
        composed = None if composed is None else replace(composed, own=copies.own)
        order = replace(job.order, directory=job.order.directory.absolute(), composed=composed)
        save_order(job.exchange.folder / JOB_FILE, order, copies.own, copies.modules, awaits=self._awaits)

    def _news(self) -> list[Event]:
        """Return the reports and the ends that were not returned before."""
        events: list[Event] = []
        is_due = time.monotonic() - self._asked_at > _QUEUE_SECONDS
        if is_due and self._queue.refresh():
            self._asked_at = time.monotonic()
        for number, job in list(self._jobs.items()):
            progress = job.exchange.new_progress(number)
            end = job.exchange.ended(number) or self._gone(number, job, is_due)
            if progress is not None:
                events.append(progress if end is None else replace(progress, awaits=False))
            if end is not None:
                events.append(end)
                self._forget(job)
                del self._jobs[number]
        return events

    def _gone(self, number: int, job: _Job, is_due: bool) -> Ended | None:
        """Return the end of a job that left the queue without telling it; None for others."""
        if job.slurm is None:
            return Ended(number, _TERMINATED, "stopped with the sweep") if self._is_stopping else None
        if not is_due or self._queue.is_live(job.slurm):
            job.gone_since = None if is_due else job.gone_since
            return None
        job.gone_since = job.gone_since or time.monotonic()
        is_late = time.monotonic() - job.gone_since > (_LATE_SECONDS if self._has_begun(job) else _QUEUE_SECONDS)
        if not is_late:
            return None
        if self._is_stopping:
            return Ended(number, _TERMINATED, "stopped with the sweep")
        log = self._folder / f"{job.slurm}_0_log.err"
        gone = self._queue.why_gone(job.slurm, log)
        cancel([job.slurm])  # of one that Slurm holds
        return Ended(number, 5, f"{gone.reason}; its output is in {log}", None, gone.is_machines_fault)

    def _forget(self, job: _Job) -> None:
        """Remove the file of a job that holds its secrets, and the one that says that it is in Slurm."""
        for name in (JOB_FILE, "submitted.json"):
            (job.exchange.folder / name).unlink(missing_ok=True)
