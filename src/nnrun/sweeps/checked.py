"""The checks of a sweep's jobs that need torch, before the first starts: the launcher runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.sweeps.results import give_directory, say_failures, take_end
from nnrun.sweeps.seams import Decision, Launcher, Order

if TYPE_CHECKING:
    from nnrun.sweeps.loop import Loop


def check_waiting(loop: Loop, launcher: Launcher) -> None:
    """Have the jobs that wait checked; say and record which are wrong: these do not start."""
    waiting = list(loop.waiting)
    orders = [Order(job.row.number, job.words, Path(), job.resumes, job.composed) for job in waiting]
    wrong = launcher.check(orders)
    for ended in wrong:
        job = loop.jobs[ended.number]
        loop.waiting.remove(job)
        if not job.row.directory or not Path(job.row.directory).is_dir():
            give_directory(job, loop.record.folder)
        take_end(job.row, ended, Decision.GO_ON)
        job.composed = None
        loop.tell(job.row)
    if wrong:
        say_failures([loop.jobs[ended.number].row for ended in wrong], loop.num_jobs)
        loop.record.write()
