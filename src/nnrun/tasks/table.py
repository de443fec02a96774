"""The tasks, a line each: the folders of this room, whose `record.py` says all that is known of a task elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.config.task import Task

if TYPE_CHECKING:
    from nnrun.config.composed import Composed
    from nnrun.runs.summary import Reached

FOLDERS = (
    "train",
    "evaluate",
    "export",
    "predict",
    "inspect",
    "doctor",
)


@functools.cache
def collect_tasks() -> tuple[Task, ...]:
    """Return the record of every task, in the order of the table."""
    return tuple(import_module(f"nnrun.tasks.{folder}.record").TASK for folder in FOLDERS)


def perform(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Reached | None:
    """Do what a config asks for, and return what was reached: a summary, unless no sweep takes the task.

    `words` are the command line's, `directory` the one that a sweep has made for the job. Raises a NnrunError where
    something is wrong.
    """
    module, _, function = composed.task.run.rpartition(".")
    reached: Reached | None = getattr(import_module(module), function)(composed, words, directory)
    return reached
