"""The tasks, a line each: the folders of this package. Other code knows only a task's `record.py`."""

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
    "replay",
    "lr_find",
    "batch_find",
    "doctor",
    "compare",
    "check",
    "clean",
    "init",
    "report",
    "log",
)


@functools.cache
def collect_tasks() -> tuple[Task, ...]:
    """Return the record of every task, in the order of the table."""
    return tuple(import_module(f"nnrun.tasks.{folder}.record").TASK for folder in FOLDERS)


def command_called(words: Sequence[str]) -> Task | None:
    """Return the task that the first word calls, as in `nnrun init DIR`, or None."""
    return next((task for task in collect_tasks() if task.is_command and list(words[:1]) == [task.name]), None)


def carry_out(command: Task, words: Sequence[str]) -> Reached | None:
    """Run a task that has no config, with the words after its name."""
    return _function_of(command)(None, words, None)


def perform(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Reached | None:
    """Run the task of a config, and return what it reached: a summary, unless the task cannot be swept.

    `words` are the command line's; `directory` is the one that a sweep made for the job. Raises a NnrunError if
    something is wrong.
    """
    return _function_of(composed.task)(composed, words, directory)


def _function_of(task: Task) -> Callable[..., Reached | None]:
    """Import and return the function that runs a task."""
    module, _, function = task.run.rpartition(".")
    found = getattr(import_module(module), function)
    collect_again()  # the slow imports are done
    return found  # type: ignore[no-any-return]
