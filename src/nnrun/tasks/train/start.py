"""Begin a training: in this process, or in as many as `trainer.devices` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nnrun.base.ranks import this_rank
from nnrun.config.composed import Composed
from nnrun.runs.summary import Summary
from nnrun.tasks.ranks.wanted import ranks_to_start
from nnrun.tasks.train.run import run


def start(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary | None:
    """Train; return the summary, or None in a process that another program started as a rank, and not as the first.

    `words` are the command line's; `directory` is the one that a sweep made for the job.
    """
    size = ranks_to_start(composed, is_job=directory is not None)
    if size == 1:
        return run_as_rank(composed, words, directory)
    from nnrun.tasks.ranks.launcher import launch  # noqa: PLC0415 - only for several processes

    return launch(composed, partial(run_as_rank, words=words), size)


def run_as_rank(composed: Composed, words: Sequence[str], directory: Path | None = None) -> Summary | None:
    """Run all of it as the first rank, or as the only one; as another one, only the training."""
    if this_rank().is_first:
        return run(composed, words, directory)
    from nnrun.tasks.train.follow import follow  # noqa: PLC0415 - only for several processes

    follow(composed)
    return None
