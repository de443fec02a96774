"""The list of a sweep's jobs: printed before they run, or with sweep.dry_run=true instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.base.errors import SweepFailed, tell_reached
from nnrun.base.shown import counted
from nnrun.runs.console import Console
from nnrun.sweeps.asked import Asked
from nnrun.sweeps.jobs import Job
from nnrun.sweeps.results import say_failures
from nnrun.sweeps.seams import JobState, Recallable, Search
from nnrun.sweeps.table import JobResult, as_plain

# Longer lists are cut: the table of the sweep has all.
_MOST_LINES = 40


def say_jobs(rows: Sequence[JobResult], console: Console, most: int | None = _MOST_LINES) -> None:
    """Print a line for each job: its number, and the swept settings."""
    for row in rows[:most]:
        console.say(f"  {row.number}: {' '.join(f'{key}={value}' for key, value in row.overrides.items())}")
    if most is not None and len(rows) > most:
        console.say(f"  and {len(rows) - most:,} more")


def list_jobs(asked: Asked, search: Search) -> dict[str, Any]:
    """Print the jobs that a sweep would run, without running any; raise SweepFailed if some are wrong.

    Of a search, whose further jobs follow from results, the first is printed.
    """
    jobs: list[Job] = []
    while (proposal := search.ask()) is not None:
        jobs += asked.workshop.jobs(len(jobs), proposal.number, proposal.chosen)
        if isinstance(search, Recallable):
            break
    rows, console = [job.row for job in jobs], asked.console
    is_search = isinstance(search, Recallable)
    console.say("the first jobs of the search:" if is_search else f"sweep of {counted(len(rows), 'job')}:")
    say_jobs(rows, console, None)
    wrong = [row for row in rows if row.state == JobState.FAILED]
    say_failures(wrong, len(rows))
    reached = {"state": "listed", "run": None, "num_jobs": len(rows), "jobs": as_plain(rows)}
    if wrong:
        failure = SweepFailed(f"{len(wrong)} of {counted(len(rows), 'job')} would fail")
        tell_reached(failure, reached)
        raise failure
    return reached
