"""What happens to the row of a job: it gets a directory, validations, a result, or the reason why it failed."""

from __future__ import annotations

import signal
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.base.errors import InterruptedRun, complain
from nnrun.base.files import write_json
from nnrun.runs.directory import STATUS_SCHEMA, create_numbered
from nnrun.runs.summary import Summary
from nnrun.sweeps.jobs import Job
from nnrun.sweeps.ranking import is_measured
from nnrun.sweeps.seams import Decision, Ended, JobState
from nnrun.sweeps.table import JobResult

# Exit codes above this are those of signals.
_SIGNALS = 128
# Jobs that failed for one reason are named by their numbers: at most so many.
_MOST_NAMED = 8


def give_directory(job: Job, folder: Path) -> None:
    """Create the directory of a job in the folder of its sweep; one that a kill left empty is taken."""
    path = folder / job.folder_name
    is_left = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    job.row.directory = str(path if is_left else create_numbered(folder, job.folder_name))


def take_validation(row: JobResult, value: float, metrics: Mapping[str, float]) -> None:
    """Record a validation of a job that runs, if it is its best: it is what is known of one that is ended early."""
    is_better = row.monitored is None or (value > row.monitored if row.mode == "max" else value < row.monitored)
    if is_better:
        row.monitored, row.metrics = value, dict(metrics)


def take_end(row: JobResult, ended: Ended, told: Decision) -> None:
    """Record how a job ended; `told` is what the search told it last."""
    row.exit_code, row.seconds = ended.exit_code, round(row.seconds + ended.seconds, 3)
    row.reason = ended.reason or None
    row.stack = row.stack if ended.stack is None else ended.stack
    if ended.summary is not None:
        take_summary(row, Summary.from_json(ended.summary))
    if ended.exit_code > _SIGNALS:
        ends = {Decision.PAUSE: JobState.PAUSED, Decision.STOP: JobState.PRUNED}
        row.state = ends.get(told, JobState.INTERRUPTED)
        if row.state != JobState.INTERRUPTED:
            row.exit_code, row.reason = 0, None
    elif ended.exit_code:
        fail(row)
    else:
        row.state = JobState.FINISHED


def take_summary(row: JobResult, summary: Summary) -> None:
    """Record the results of a job."""
    row.monitor, row.monitored, row.mode = summary.monitor, summary.monitored, summary.mode
    row.metrics, row.yardstick = summary.metrics, replace(row.yardstick, headline=summary.headline)


def fail(row: JobResult) -> None:
    """Record that a job failed; its directory says so too."""
    row.state = JobState.FAILED
    directory = Path(row.directory)
    if not any(directory.iterdir()):
        status = {"state": "failed", "exit_code": row.exit_code, "reason": row.reason}
        write_json(directory / "status.json", status, STATUS_SCHEMA)


def say_failures(rows: Sequence[JobResult], num_jobs: int | None = None) -> None:
    """Say why jobs failed; a reason that several have is said once. `num_jobs` is how many the sweep has, if known."""
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.reason or "", []).append(row.number)
    for reason, of in numbers.items():
        complain([f"{_called(of, num_jobs)}: {line}" for line in reason.split("\n")])


def _called(numbers: Sequence[int], num_jobs: int | None) -> str:
    """Return what some jobs are called, by their numbers."""
    if len(numbers) == 1:
        return f"job {numbers[0]}"
    if len(numbers) == num_jobs:
        return f"all {num_jobs:,} jobs"
    left = len(numbers) - _MOST_NAMED
    listed = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return f"jobs {listed} and {left:,} more" if left > 0 else f"jobs {listed}"


def mean_of(rows: Sequence[JobResult]) -> float | None:
    """Return the mean of the jobs of a point that were measured; None if none was."""
    values = [row.monitored for row in rows if is_measured(row) and row.monitored is not None]
    return statistics.fmean(values) if values else None


def check_all_ended(rows: Sequence[JobResult]) -> None:
    """Raise InterruptedRun where somebody else stopped a job: the sweep has not ended without it."""
    if stopped := [row.number for row in rows if row.state == JobState.INTERRUPTED]:
        raise InterruptedRun(signal.SIGTERM, f"stopped by a signal: job {', '.join(map(str, sorted(stopped)))}")


def give_up_paused(rows: Sequence[JobResult]) -> None:
    """Record that what is still paused was ended early; a longer search may take it up again."""
    for row in rows:
        if row.state == JobState.PAUSED:
            row.state = JobState.PRUNED
