"""What each task is done by. Each imports torch: not before the config is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.config.compose import Composed

if TYPE_CHECKING:
    from nnrun.runs.summary import Summary

# Takes a config, the words of the command line, and the directory that a sweep has made for the job.
Task = Callable[[Composed, Sequence[str], Path | None], "Summary"]


def _run() -> Task:
    from nnrun.tasks.train.run import run  # noqa: PLC0415 - imports torch

    return run


def _inspect() -> Task:
    from nnrun.tasks.inspect.run import inspect  # noqa: PLC0415 - imports torch

    return inspect


def _predict() -> Task:
    from nnrun.tasks.predict.run import predict  # noqa: PLC0415 - imports torch

    return predict


# What is not here trains, evaluates or exports, and is a run.
_TASKS: dict[str, Callable[[], Task]] = {"inspect": _inspect, "predict": _predict}


def perform(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary:
    """Do what a config asks for, and return the summary; raises a NnrunError where something is wrong."""
    return _TASKS.get(composed.config.task, _run)()(composed, words, directory)
