"""The best job of a sweep, if it was trained together with others: it is trained again by itself."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path

from nnrun.base.errors import NnrunError, complain
from nnrun.base.files import saving
from nnrun.sweeps.best import best_of
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.record import Record
from nnrun.sweeps.results import check_all_ended
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import JobResult

# The folder, in that of the sweep, for the runs in a stack of jobs that were trained again.
FOLDER = "stacked"


def to_train_alone(
    jobs: MutableMapping[int, Job], num_tested: int, workshop: Workshop, record: Record
) -> Iterator[Job]:
    """Yield each of the best jobs that was trained in a stack, to be trained by itself, until they were: one or more.

    So the best job, and what is tested at the end, has the bits of its own command. The caller runs each before it asks
    for the next: another may be the best then. One that would not be what it was is said, and ends this.
    """
    while (row := _next(record, num_tested)) is not None:
        words = jobs[row.number].words or workshop.words_with(row.overrides)
        try:
            job = workshop.alone(row, words)
        except NnrunError as error:
            complain([f"job {row.number} is not trained again by itself: {'; '.join(error.messages)}"])
            return
        _set_aside(row, record.folder / FOLDER)
        row.directory, row.stack, row.is_alone, row.state = "", None, True, JobState.WAITING
        row.monitored, row.metrics, row.seconds = None, {}, 0.0
        record.write()
        jobs[row.number] = job
        yield job
        check_all_ended(record.rows)


def _next(record: Record, num_tested: int) -> JobResult | None:
    """Return the best job that was trained in a stack, if the best are not all trained by themselves."""
    return next((row for row in best_of(record.rows, max(1, num_tested)) if row.stack is not None), None)


def _set_aside(row: JobResult, folder: Path) -> None:
    """Move the run of a job out of the way; a sweep that was killed just then has moved it already."""
    directory = Path(row.directory)
    with saving(folder):
        folder.mkdir(exist_ok=True)
        if directory.is_dir():
            directory.rename(folder / directory.name)
