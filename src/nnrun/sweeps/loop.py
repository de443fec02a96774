"""The main loop of a sweep: jobs go from the search to the launcher, events come back, and each is recorded at once."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnrun.base.errors import InterruptedRun, NnrunError, ResourceError, complain
from nnrun.base.files import write_json
from nnrun.base.lock import check_free, is_locked
from nnrun.base.signals import StopRequest
from nnrun.runs.directory import STATUS_SCHEMA, create_numbered
from nnrun.runs.summary import Summary
from nnrun.sweeps.best import best_of
from nnrun.sweeps.board import Board
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.ranking import is_measured
from nnrun.sweeps.record import Record
from nnrun.sweeps.resumed import Past
from nnrun.sweeps.seams import (
    Decision,
    Ended,
    Expected,
    JobState,
    Launcher,
    Order,
    Progress,
    Proposal,
    Recallable,
    Search,
)
from nnrun.sweeps.table import JobResult

# How long the loop waits for an event before it looks around.
_WAIT_SECONDS = 1.0
# How long the job of a killed sweep may take to end.
_OUTLIVED_SECONDS = 20.0
# Exit codes above this are those of signals.
_SIGNALS = 128


@dataclass
class Loop:
    """A sweep that runs: its jobs by number, those that wait, and those that run."""

    search: Search
    workshop: Workshop
    record: Record
    board: Board
    stop: StopRequest
    fails_fast: bool = False
    # Of a search, whose jobs are not listed before they run.
    expected: Expected | None = None
    # How many of the best jobs are tested at the end; then no others start.
    num_tested: int = 0
    is_testing: bool = False
    # How many jobs there will be, if that is known.
    num_jobs: int | None = None
    # Whether the launcher takes up jobs that outlived the sweep, as on a cluster.
    follows_jobs: bool = False
    jobs: dict[int, Job] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)
    running: dict[int, Job] = field(default_factory=dict)

    def list_all(self) -> None:
        """Ask the search for all that it has to propose, before a job starts; wrong jobs are said and recorded.

        Jobs that are known already are those of a sweep that is resumed.
        """
        while (proposal := self.search.ask()) is not None:
            if proposal.number not in (job.row.point for job in self.jobs.values()):
                self._add(proposal)
        self.num_jobs = len(self.jobs)
        self.record.write()

    def restore(self, past: Past) -> None:
        """Take over the jobs of a sweep that ended early: those without a result wait, and resume where they were.

        A result that the surroundings spoiled, such as a full disk, is none. Raises ConfigError where a job would not
        be what it was, ResourceError where one still runs.
        """
        paused: Collection[int] = ()
        if isinstance(self.search, Recallable):
            self.search.recall(past.told)
            paused = self.search.paused
        for row in past.rows:
            if row.has_ended and row.exit_code != ResourceError.exit_code and row.state != JobState.PRUNED:
                self.jobs[row.number] = Job(row, ())
                continue
            # A job that was killed after it was told to pause is paused too.
            is_idle = row.state in (JobState.PAUSED, JobState.PRUNED) or row.point in paused
            row.state = JobState.PAUSED if is_idle else JobState.WAITING
            if row.directory and not self.follows_jobs:
                wait_until_free(Path(row.directory))
            job = self.jobs[row.number] = self.workshop.again(row)
            row.exit_code, row.reason = 0 if is_idle else None, None
            if not is_idle:
                self.waiting.append(job)
        self.record.rows.extend(past.rows)

    def trainers(self) -> list[Mapping[str, Any]]:
        """Return the section `trainer` of each job whose config is at hand."""
        if self.expected is not None:
            return [self.expected.trainer]
        return [job.composed.resolved()["trainer"] for job in self.jobs.values() if job.composed is not None]

    def run(self, launcher: Launcher) -> None:
        """Run until nothing waits, nothing runs, and the search is done. Raises InterruptedRun or KeyboardInterrupt."""
        try:
            self._run_all(launcher)
            self._give_up_paused()
            if self.num_tested and not self._is_ending:
                self.is_testing = True
                self._list_best()
                self._run_all(launcher)
        except (KeyboardInterrupt, InterruptedRun, ResourceError):
            self._stop(launcher)
            raise
        finally:
            launcher.close()

    def _run_all(self, launcher: Launcher) -> None:
        """Run until nothing waits or runs."""
        while True:
            self.stop.poll()
            with self.stop.held():
                self._fill(launcher)
            self.stop.poll()
            if not self.running:
                return
            events = launcher.wait(_WAIT_SECONDS)
            with self.stop.held():
                for event in events:
                    self._take(event, launcher)
            self.board.tick()

    def _list_best(self) -> None:
        """Let the best jobs that are not tested wait for it."""
        for row in best_of(self.record.rows, self.num_tested):
            if any(name.startswith("test/") for name in row.metrics):
                continue
            try:
                self.waiting.append(self.workshop.tested(row))
            except NnrunError as error:
                complain([f"job {row.number} is not tested: {'; '.join(error.messages)}"])

    def decide(self, progress: Progress) -> Decision:
        """Return what a job that reports a validation shall do."""
        if self.is_testing:
            return Decision.GO_ON
        job, epoch = self.running[progress.number], int(progress.epoch)
        row, value = job.row, progress.metrics.get(job.row.monitor or "")
        if value is not None and epoch > 0:
            if row.monitored is None or _is_better(value, row.monitored, row.mode):
                row.monitored, row.metrics = value, dict(progress.metrics)
            job.decision = self._reported(row, epoch, value)
            if isinstance(self.search, Recallable):
                self.record.write()
        return job.decision

    def _add(self, proposal: Proposal) -> None:
        """Compose the jobs of a proposal; they wait, but for those whose config is wrong."""
        jobs = self.workshop.jobs(len(self.jobs), proposal.number, proposal.chosen)
        self.jobs |= {job.row.number: job for job in jobs}
        self.record.rows.extend(job.row for job in jobs)
        for job in jobs:
            if job.row.state == JobState.FAILED:
                self._give_directory(job)
                self._end_badly(job)
            else:
                self.waiting.append(job)

    @property
    def _is_ending(self) -> bool:
        """Whether no further job starts."""
        return self.fails_fast and any(row.state == JobState.FAILED for row in self.record.rows)

    def _next(self) -> Job | None:
        """Return the next job to start; None if there is none now."""
        points = {job.row.point: job for job in self.jobs.values() if job.row.state == JobState.PAUSED}
        while not self.waiting:
            if self.is_testing:
                return None
            if paused := next((points[number] for number in self.search.resumable() if number in points), None):
                paused.resumes = True
                return paused
            proposal = self.search.ask()
            if proposal is None:
                return None
            self._add(proposal)
        return self.waiting.popleft()

    def _fill(self, launcher: Launcher) -> None:
        """Start jobs as long as there are places and jobs for them."""
        while len(self.running) < launcher.num_slots and not self._is_ending:
            job = self._next()
            if job is None:
                return
            self._start(job, launcher)

    def _start(self, job: Job, launcher: Launcher) -> None:
        """Start a job in a directory of its own."""
        row = job.row
        self.board.started(row, job.composed)
        if not row.directory or not Path(row.directory).is_dir():
            self._give_directory(job)
            job.resumes = False
        row.state, row.exit_code = JobState.RUNNING, None
        self.running[row.number] = job
        self.record.write()
        order = Order(row.number, job.words, Path(row.directory), job.resumes, job.composed)
        job.decision = Decision.GO_ON
        launcher.start(order)

    def _give_directory(self, job: Job) -> None:
        """Create the directory of a job; one that a kill left empty is taken."""
        path = self.record.folder / job.folder_name
        is_left = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
        job.row.directory = str(path if is_left else create_numbered(self.record.folder, job.folder_name))

    def _take(self, event: Progress | Ended, launcher: Launcher) -> None:
        """Take an event: answer a job that waits for it, and record the end of one."""
        if isinstance(event, Progress):
            decision = self.decide(event)
            if event.awaits:
                launcher.answer(event.number, decision)
            self.board.progressed(self.running[event.number].row, event)
            return
        job = self.running.pop(event.number)
        row = job.row
        row.exit_code, row.seconds = event.exit_code, round(row.seconds + event.seconds, 3)
        row.reason = event.reason or None
        row.stack = event.stack
        if event.summary is not None:
            self._take_summary(job, Summary.from_json(event.summary))
        if event.exit_code > _SIGNALS:
            ends = {Decision.PAUSE: JobState.PAUSED, Decision.STOP: JobState.PRUNED}
            row.state = ends.get(job.decision, JobState.INTERRUPTED)
            job.resumes = True
            if row.state != JobState.INTERRUPTED:
                row.exit_code, row.reason = 0, None
        elif event.exit_code:
            self._end_badly(job)
        else:
            row.state = JobState.FINISHED
            self._tell(row)
        if row.has_ended:
            job.composed = None
        self.record.write()
        self.board.ended(row)

    def _take_summary(self, job: Job, summary: Summary) -> None:
        """Record the results of a job."""
        row = job.row
        row.monitor, row.monitored, row.mode = summary.monitor, summary.monitored, summary.mode
        row.metrics, row.yardstick = summary.metrics, replace(row.yardstick, headline=summary.headline)

    def _end_badly(self, job: Job) -> None:
        """Say and record that a job failed, or that it was wrong from the beginning."""
        row = job.row
        complain([f"job {row.number}: {line}" for line in (row.reason or "").split("\n")])
        row.state = JobState.FAILED
        directory = Path(row.directory)
        if not any(directory.iterdir()):
            status = {"state": "failed", "exit_code": row.exit_code, "reason": row.reason}
            write_json(directory / "status.json", status, STATUS_SCHEMA)
        self._tell(row)

    def _reported(self, row: JobResult, epoch: int, value: float) -> Decision:
        """Tell the search of a validation; not of that of a repeat: their mean is known at the end."""
        if self.workshop.repeated or row.point is None:
            return Decision.GO_ON
        return self.search.report(row.point, epoch, value)

    def _tell(self, row: JobResult) -> None:
        """Tell the search the value of a point, once all of its jobs have ended: the mean of those that have one."""
        rows = [other for other in self.record.rows if other.point == row.point]
        if self.is_testing:
            return
        if row.point is not None and all(other.has_ended for other in rows):
            values = [other.monitored for other in rows if is_measured(other) and other.monitored is not None]
            self.search.tell(row.point, statistics.fmean(values) if values else None)

    def _give_up_paused(self) -> None:
        """Record that what is still paused was ended early; a longer search may take it up again."""
        if isinstance(self.search, Recallable):
            self.search.give_up()
        for row in self.record.rows:
            if row.state == JobState.PAUSED:
                row.state = JobState.PRUNED

    def _stop(self, launcher: Launcher) -> None:
        """Stop what runs, however long it saves, and record it; another error does not hide the one that ends it."""
        with suppress(ResourceError, OSError), self.stop.deferred():
            launcher.stop()
            while self.running:
                events = launcher.wait(_WAIT_SECONDS)
                with self.stop.held():
                    for event in events:
                        self._take(event, launcher)


def wait_until_free(directory: Path) -> None:
    """Wait for the process of a job that outlived its sweep; raise ResourceError if it does not end."""
    deadline = time.monotonic() + _OUTLIVED_SECONDS
    while is_locked(directory) and time.monotonic() < deadline:
        time.sleep(_WAIT_SECONDS / 10)
    check_free(directory)


def _is_better(value: float, other: float, mode: str | None) -> bool:
    return value > other if mode == "max" else value < other
