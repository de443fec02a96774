"""The main loop of a sweep: jobs go from the search to the launcher, events come back, and each is recorded at once."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnrun.base.errors import InterruptedRun, ResourceError, complain
from nnrun.base.files import write_json
from nnrun.base.signals import StopRequest
from nnrun.runs.console import Console
from nnrun.runs.directory import STATUS_SCHEMA, create_numbered
from nnrun.runs.summary import Summary
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.record import Record
from nnrun.sweeps.seams import Decision, Ended, JobState, Launcher, Order, Progress, Proposal, Search

# How long the loop waits for an event before it looks around.
_WAIT_SECONDS = 1.0
# Exit codes above this are those of signals.
_SIGNALS = 128


@dataclass
class Loop:
    """A sweep that runs: its jobs by number, those that wait, and those that run."""

    search: Search
    workshop: Workshop
    record: Record
    console: Console
    stop: StopRequest
    fails_fast: bool = False
    # How many jobs there will be, if that is known.
    num_jobs: int | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)
    running: dict[int, Job] = field(default_factory=dict)

    def list_all(self) -> None:
        """Ask the search for all that it has to propose, before a job starts; wrong jobs are said and recorded."""
        while (proposal := self.search.ask()) is not None:
            self._add(proposal)
        self.num_jobs = len(self.jobs)
        self.record.write()

    def run(self, launcher: Launcher) -> None:
        """Run until nothing waits, nothing runs, and the search is done. Raises InterruptedRun or KeyboardInterrupt."""
        try:
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
        except (KeyboardInterrupt, InterruptedRun):
            self._stop(launcher)
            raise
        finally:
            launcher.close()

    def decide(self, progress: Progress) -> Decision:
        """Return what a job that reports a validation shall do."""
        job = self.running[progress.number]
        value = progress.metrics.get(job.row.monitor or "")
        if value is not None:
            job.decision = self.search.report(job.row.point, progress.step, value)
        return job.decision

    def _add(self, proposal: Proposal) -> Job:
        """Compose the job of a proposal; it waits, unless its config is wrong."""
        job = self.workshop.job(len(self.jobs), proposal.number, proposal.chosen)
        self.jobs[job.row.number] = job
        self.record.rows.append(job.row)
        if job.row.state == JobState.FAILED:
            self._give_directory(job)
            self._end_badly(job)
        else:
            self.waiting.append(job)
        return job

    @property
    def _is_ending(self) -> bool:
        """Whether no further job starts."""
        return self.fails_fast and any(row.state == JobState.FAILED for row in self.record.rows)

    def _next(self) -> Job | None:
        """Return the next job to start; None if there is none now."""
        while not self.waiting:
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
        self.console.say("")
        of_all = f" of {self.num_jobs}" if self.num_jobs is not None else ""
        swept = " ".join(f"{key}={value}" for key, value in row.overrides.items())
        self.console.say(f"job {row.number + 1}{of_all}: {swept}")
        if not row.directory:
            self._give_directory(job)
        row.state, row.exit_code = JobState.RUNNING, None
        self.running[row.number] = job
        self.record.write()
        order = Order(row.number, job.words, Path(row.directory), job.resumes, job.composed)
        job.composed, job.decision = None, Decision.GO_ON
        launcher.start(order)

    def _give_directory(self, job: Job) -> None:
        """Create the directory of a job."""
        job.row.directory = str(create_numbered(self.record.folder, job.folder_name))

    def _take(self, event: Progress | Ended, launcher: Launcher) -> None:
        """Take an event: answer a job that waits for it, and record the end of one."""
        if isinstance(event, Progress):
            decision = self.decide(event)
            if event.awaits:
                launcher.answer(event.number, decision)
            return
        job = self.running.pop(event.number)
        row = job.row
        row.exit_code, row.seconds = event.exit_code, round(row.seconds + event.seconds, 3)
        row.reason = event.reason or None
        if event.summary is not None:
            self._take_summary(job, Summary.from_json(event.summary))
        if event.exit_code > _SIGNALS:
            ends = {Decision.PAUSE: JobState.PAUSED, Decision.STOP: JobState.PRUNED}
            row.state = ends.get(job.decision, JobState.INTERRUPTED)
        elif event.exit_code:
            self._end_badly(job)
        else:
            row.state = JobState.FINISHED
            self.search.tell(row.point, row.monitored)
        self.record.write()

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
        self.search.tell(row.point, None)

    def _stop(self, launcher: Launcher) -> None:
        """Stop what runs, and record it; the error that ends the sweep is not hidden by another."""
        with suppress(ResourceError, OSError):
            launcher.stop()
            while self.running:
                events = launcher.wait(_WAIT_SECONDS)
                with self.stop.held():
                    for event in events:
                        self._take(event, launcher)
