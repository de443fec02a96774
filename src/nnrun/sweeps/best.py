"""The best jobs of a sweep: the link `best` in its folder, and those that are tested at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nnrun.base.errors import NnrunError, complain
from nnrun.base.files import write_link
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.ranking import choose_ranking, is_measured, key_of, order
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import JobResult

LINK_NAME = "best"


def best_of(rows: Sequence[JobResult], number: int = 1) -> list[JobResult]:
    """Return the best job of each of the best points, at most so many; none where the jobs cannot be compared."""
    finished = [row for row in rows if row.state == JobState.FINISHED and is_measured(row)]
    ranking = choose_ranking(finished)
    if ranking.metric is None:
        return []
    first: dict[int, JobResult] = {}
    for row in order(finished, ranking):
        first.setdefault(key_of(row), row)
    return list(first.values())[:number]


def untested(rows: Sequence[JobResult], number: int) -> list[JobResult]:
    """Return those of the best jobs, at most so many, that have no metrics of the test split."""
    return [row for row in best_of(rows, number) if not any(name.startswith("test/") for name in row.metrics)]


def to_test(rows: Sequence[JobResult], number: int, workshop: Workshop) -> Iterator[Job]:
    """Yield the best jobs that are not tested yet, to be tested; say of one that cannot be why."""
    for row in untested(rows, number):
        try:
            yield workshop.tested(row)
        except NnrunError as error:
            complain([f"job {row.number} is not tested: {'; '.join(error.messages)}"])


def link_best(rows: Sequence[JobResult], folder: Path) -> None:
    """Let the link `best` in the folder of a sweep lead to its best job so far; a file of that name is left alone."""
    link, best = folder / LINK_NAME, best_of(rows)
    if not best or (link.exists() and not link.is_symlink()):
        return
    target = Path(best[0].directory).name
    if link.is_symlink() and str(link.readlink()) == target:
        return
    write_link(link, target)
