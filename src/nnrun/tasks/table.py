"""The tasks, a line each: the folders of this room, whose `record.py` says all that is known of a task elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.garbage import collect_again
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
    "init",
)


@functools.cache
def collect_tasks() -> tuple[Task, ...]:
    """Return the record of every task, in the order of the table."""
    return tuple(import_module(f"nnrun.tasks.{folder}.record").TASK for folder in FOLDERS)


def command_called(words: Sequence[str]) -> Task | None:
    """Return the task that the first of some words calls, such as `nnrun init DIR`; None where it calls none."""
    return next((task for task in collect_tasks() if task.is_command and list(words[:1]) == [task.name]), None)


def carry_out(command: Task, words: Sequence[str]) -> Reached | None:
    """Do what a task does that has no config, with the words behind its name."""
    return _function_of(command)(None, words, None)


def perform(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Reached | None:
    """Do what a config asks for, and return what was reached: a summary, unless no sweep takes the task.

    `words` are the command line's, `directory` the one that a sweep has made for the job. Raises a NnrunError where
    something is wrong.
    """
    return _function_of(composed.task)(composed, words, directory)


def _function_of(task: Task) -> Callable[..., Reached | None]:
    """Return what does a task, imported now."""
    module, _, function = task.run.rpartition(".")
    found = getattr(import_module(module), function)
    collect_again()  # all that takes long to import is here
    return found  # type: ignore[no-any-return]
