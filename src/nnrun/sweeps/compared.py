"""The comparison that a sweep ends with: jobs that differ in the seed as one, the best two tested, compare.html."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.config.monitor import Metrics
from nnrun.runs.console import Console
from nnrun.sweeps.table import JobResult
from nnrun.tasks.comparison.chosen import is_no_training
from nnrun.tasks.comparison.comparison import compare_runs
from nnrun.tasks.comparison.contents import PAGE_NAME, page_of
from nnrun.tasks.comparison.found import FoundRun
from nnrun.tasks.comparison.printed import print_best_two, print_groups
from nnrun.tasks.comparison.read_run import read


def compare_jobs(
    results: Sequence[JobResult], folder: Path, words: Sequence[str], ways: Metrics, console: Console
) -> None:
    """Print what a comparison of the jobs adds to their table, and write its page; nothing for less than two runs.

    `words` are those of the sweep. An error of the disk is noted: the table is written already.
    """
    runs = [read(FoundRun(Path(result.directory), is_named=False)) for result in results]
    runs = [run for run in runs if not is_no_training(run)]
    if sum(run.is_measured for run in runs) < 2:
        return
    try:
        comparison = compare_runs(runs, ways=ways)
    except ConfigError as error:  # a metric that none has
        console.note(str(error))
        return
    print_groups(comparison, console)
    print_best_two(comparison, console)
    from nnrun.runs.page import write_page  # noqa: PLC0415 - a sweep without results does not need it

    try:
        write_page(page_of(comparison, "Jobs of a sweep", shlex.join(["nnrun", "-m", *words])), folder / PAGE_NAME)
    except ResourceError as error:
        console.note(str(error))
        return
    console.say(f"the jobs side by side: {folder / PAGE_NAME}")
