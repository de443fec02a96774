"""The jobs of a sweep that ended early, as they go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from nnrun.base.errors import ResourceError
from nnrun.base.lock import check_free, is_locked
from nnrun.sweeps.jobs import Job, Workshop
from nnrun.sweeps.resumed import Past
from nnrun.sweeps.seams import JobState, Recallable, Search

# How long the job of a killed sweep may take to end, and how often that is looked at.
_OUTLIVED_SECONDS, _LOOK_SECONDS = 20.0, 0.1


def restored(past: Past, workshop: Workshop, search: Search, *, follows_jobs: bool) -> Iterator[Job]:
    """Yield each job of the past: those that have a result keep it, the others wait, or are paused.

    A result that the surroundings spoiled, such as a full disk, is none. `follows_jobs`: the launcher takes up jobs
    that still run. Raises ConfigError where a job would not be what it was, ResourceError where one still runs.
    """
    paused = search.paused if isinstance(search, Recallable) else ()
    for row in past.rows:
        if row.has_ended and row.exit_code != ResourceError.exit_code and row.state != JobState.PRUNED:
            yield Job(row, ())
            continue
        # A job that was killed after it was told to pause is paused too.
        is_idle = row.state in (JobState.PAUSED, JobState.PRUNED) or row.point in paused
        row.state = JobState.PAUSED if is_idle else JobState.WAITING
        if row.directory and not follows_jobs:
            wait_until_free(Path(row.directory))
        job = workshop.again(row)
        row.exit_code, row.reason = 0 if is_idle else None, None
        yield job


def wait_until_free(directory: Path) -> None:
    """Wait for the process of a job that outlived its sweep; raise ResourceError if it does not end."""
    deadline = time.monotonic() + _OUTLIVED_SECONDS
    while is_locked(directory) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    check_free(directory)
