"""The record of `task=clean`, and its settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnrun.config.ranges import Range
from nnrun.config.task import Task

# Keep the best run of each sweep.
ALL_BEST = "all-best"
KEEP = re.compile(r"(best|newest):([1-9]\d{0,8})")
_HOW = "best:N, newest:N (N from 1 up), all-best or null"


@dataclass(frozen=True)
class CleanSettings:
    """Which runs are kept, and whether the others are deleted or only shown."""

    keep: str | None
    yes: bool


TASK = Task(
    name="clean",
    run="nnrun.tasks.clean.run.clean",
    help=(
        ("nnrun task=clean runs=DIR clean.keep=best:3", "show which runs would be deleted, and their sizes"),
        ("nnrun task=clean runs=DIR clean.keep=best:3 clean.yes=true", "delete them"),
    ),
    help_adds="Kept in any case: runs that may be running, what outputs/latest points to unless it is named itself, "
    "and whatever is not a run directory. Nothing is deleted through a link.",
    settings=CleanSettings,
    ranges={
        "clean.keep": Range(
            lambda v: v is None or (isinstance(v, str) and (v == ALL_BEST or KEEP.fullmatch(v) is not None)),
            _HOW,
            (ALL_BEST,),
        ),
    },
    reads_alone=("runs",),
    needs={
        "runs": "task=clean needs runs=: a folder of runs, a pattern in quotes, or a list such as runs=[a,b]",
    },
    takes_only=("runs", "clean.keep", "clean.yes"),
    unread_with="task=clean, which only deletes runs",
    builds=(),
    not_swept="task=clean deletes runs and cannot be a job of a sweep; run it by itself",
)
