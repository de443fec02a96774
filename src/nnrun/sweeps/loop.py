"""The main loop of a sweep: jobs go from the search to the launcher, events come back, and each is recorded at once."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnrun.base.errors import InterruptedRun, ResourceError
from nnrun.base.signals import StopRequest
from nnrun.sweeps.best import to_test
from nnrun.sweeps.board import Board
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.record import Record
from nnrun.sweeps.restored import restored
from nnrun.sweeps.results import (
    check_all_ended,
    fail,
    give_directory,
    give_up_paused,
    mean_of,
    say_failures,
    take_end,
    take_validation,
)
from nnrun.sweeps.resumed import Past
from nnrun.sweeps.seams import Decision, Ended, JobState, Launcher, Order, Progress, Proposal, Recallable, Search
from nnrun.sweeps.table import JobResult
from nnrun.sweeps.winner import to_train_alone

# How long the loop waits for an event before it looks around.
_WAIT_SECONDS = 1.0


@dataclass
class Loop:
    """A sweep that runs: its jobs by number, those that wait, and those that run."""

    search: Search
    workshop: Workshop
    record: Record
    board: Board
    stop: StopRequest
    fails_fast: bool = False
    # How many of the best jobs are tested at the end; then, and while the best is trained again, no others start.
    num_tested: int = 0
    is_testing: bool = False
    # How many jobs a grid has, once they are listed.
    num_jobs: int | None = None
    # Whether the launcher takes up jobs that outlived the sweep, as on a cluster.
    follows_jobs: bool = False
    jobs: dict[int, Job] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)
    running: dict[int, Job] = field(default_factory=dict)
    # What has happened, and was not taken yet.
    events: deque[Progress | Ended] = field(default_factory=deque)

    def list_all(self) -> None:
        """Ask the search for all that it has to propose, before a job starts; wrong jobs are said and recorded.

        Jobs that are known already are those of a sweep that is resumed.
        """
        wrong: list[JobResult] = []
        while (proposal := self.search.ask()) is not None:
            if proposal.number not in (job.row.point for job in self.jobs.values()):
                wrong += self._add(proposal)
        self.num_jobs = len(self.jobs)
        say_failures(wrong, self.num_jobs)
        self.record.write()

    def restore(self, past: Past) -> None:
        """Take over the jobs of a sweep that ended early: those without a result wait, and resume where they were."""
        # A signal from here on writes the record: it has all that it had.
        with self.stop.held():
            if isinstance(self.search, Recallable):
                self.search.recall(past.told)
                self.search.count_time(past.seconds)
            self.record.rows.extend(past.rows)
        for job in restored(past, self.workshop, self.search, follows_jobs=self.follows_jobs):
            self.jobs[job.row.number] = job
            if job.row.state == JobState.WAITING:
                self.waiting.append(job)

    @property
    def num_expected(self) -> int | None:
        """How many jobs there will be at most, if that is known: of a search, those of each proposal."""
        if not isinstance(self.search, Recallable):
            return self.num_jobs
        number = self.search.expected.num_jobs
        return None if number == sys.maxsize else number * len(self.workshop.repeats)

    def trainers(self) -> list[Mapping[str, Any]]:
        """Return the section `trainer` of each job whose config is at hand."""
        if isinstance(self.search, Recallable):
            return [self.search.expected.trainer]
        return [job.composed.resolved()["trainer"] for job in self.jobs.values() if job.composed is not None]

    def run(self, launcher: Launcher) -> None:
        """Run until nothing waits, nothing runs, and the search is done. Raises InterruptedRun or KeyboardInterrupt."""
        try:
            self._run_all(launcher)
            check_all_ended(self.record.rows)
            if isinstance(self.search, Recallable):
                self.search.give_up()
            give_up_paused(self.record.rows)
            if not self._is_ending:
                self.is_testing = True
                for job in to_train_alone(self.jobs, self.num_tested, self.workshop, self.record):
                    self.waiting.append(job)
                    self._run_all(launcher)
                self.waiting.extend(to_test(self.record.rows, self.num_tested, self.workshop))
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
            self._take_events(launcher)
            self.board.tick()

    def decide(self, progress: Progress) -> Decision:
        """Return what a job that reports a validation shall do."""
        if self.is_testing:
            return Decision.GO_ON
        job, epoch = self.running[progress.number], int(progress.epoch)
        row, value = job.row, progress.metrics.get(job.row.monitor or "")
        if value is not None and epoch > 0:
            take_validation(row, value, progress.metrics)
            job.decision = self._reported(row, epoch, value)
            if isinstance(self.search, Recallable):
                self.record.write()
        return job.decision

    def _add(self, proposal: Proposal) -> list[JobResult]:
        """Compose the jobs of a proposal; they wait, but for those whose config is wrong, which are returned."""
        jobs = self.workshop.jobs(len(self.jobs), proposal.number, proposal.chosen)
        self.jobs |= {job.row.number: job for job in jobs}
        self.record.rows.extend(job.row for job in jobs)
        self.waiting.extend(job for job in jobs if job.row.state != JobState.FAILED)
        for job in (wrong := [job for job in jobs if job.row.state == JobState.FAILED]):
            give_directory(job, self.record.folder)
            fail(job.row)
            self.tell(job.row)
        return [job.row for job in wrong]

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
            say_failures(self._add(proposal))
        return self.waiting.popleft()

    def _fill(self, launcher: Launcher) -> None:
        """Start jobs as long as there are places and jobs for them."""
        while len(self.running) < launcher.num_slots and not self._is_ending and (job := self._next()) is not None:
            self._start(job, launcher)

    def _start(self, job: Job, launcher: Launcher) -> None:
        """Start a job in a directory of its own."""
        row = job.row
        self.board.started(row, job.composed)
        if not row.directory or not Path(row.directory).is_dir():
            give_directory(job, self.record.folder)
            job.resumes = False
        row.state, row.exit_code = JobState.RUNNING, None
        self.record.write()
        order = Order(row.number, job.words, Path(row.directory), job.resumes, job.composed, row.is_alone)
        job.decision = Decision.GO_ON
        launcher.start(order)
        # Only now is there an end to wait for, if an error ends the sweep.
        self.running[row.number] = job

    def _take_events(self, launcher: Launcher) -> None:
        """Wait for events, and take them; after an error, those that are left are taken next time."""
        self.events.extend(launcher.wait(_WAIT_SECONDS))
        with self.stop.held():
            while self.events:
                self._take(self.events.popleft(), launcher)

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
        take_end(row, event, job.decision)
        if row.state == JobState.FAILED:
            say_failures([row])
        job.resumes = True
        if row.state in (JobState.FAILED, JobState.FINISHED):
            self.tell(row)
        if row.has_ended:
            job.composed = None
        self.record.write()
        self.board.ended(row)

    def _reported(self, row: JobResult, epoch: int, value: float) -> Decision:
        """Tell the search of a validation; not of that of a repeat: their mean is known at the end."""
        if self.workshop.repeated or row.point is None or row.is_alone:
            return Decision.GO_ON
        return self.search.report(row.point, epoch, value)

    def tell(self, row: JobResult) -> None:
        """Tell the search the value of a point, once all of its jobs have ended: the mean of those that have one."""
        rows = [other for other in self.record.rows if other.point == row.point]
        if (
            row.point is not None
            and not self.is_testing
            and not row.is_alone
            and all(other.has_ended for other in rows)
        ):
            self.search.tell(row.point, mean_of(rows))

    def _stop(self, launcher: Launcher) -> None:
        """Stop what runs, however long it saves, and record it; another error does not hide the one that ends it."""
        with suppress(ResourceError, OSError), self.stop.deferred():
            launcher.stop()
            while self.running:
                self._take_events(launcher)
