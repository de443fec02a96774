"""The comparison that a sweep ends with: jobs that differ in the seed as one, the best two tested, and a page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.base.files import write_link
from nnrun.base.shown import Section, Shown, Table, Text, counted
from nnrun.config.monitor import Metrics
from nnrun.runs.console import Console
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import CSV_NAME, JobResult
from nnrun.tasks.comparison.chosen import is_no_training
from nnrun.tasks.comparison.comparison import compare_runs
from nnrun.tasks.comparison.contents import page_of
from nnrun.tasks.comparison.found import FoundRun
from nnrun.tasks.comparison.importance import with_importance
from nnrun.tasks.comparison.printed import print_best_two, print_groups
from nnrun.tasks.comparison.read_run import Run, read

# The page of a sweep, and the name that the pages of other comparisons have.
PAGE_NAME, ALIAS_NAME = "report.html", "compare.html"
# Failed jobs that the page lists.
_MOST_LISTED = 200


def compare_jobs(
    results: Sequence[JobResult], folder: Path, words: Sequence[str], ways: Metrics, console: Console
) -> None:
    """Print what a comparison of the jobs adds to their table, and write its page, unless they have `report=none`.

    `words` are those of the sweep. An error of the disk is noted: the table is written already.
    """
    by_state = {result.number: result.state for result in results}
    every = {result.number: read(FoundRun(Path(result.directory), is_named=False)) for result in results}
    if every and all(map(is_no_training, every.values())):
        return  # predictions and the like: there is nothing to compare
    # Those that failed or were ended early are in a section of their own.
    runs = [run for number, run in every.items() if by_state[number] not in (JobState.FAILED, JobState.PRUNED)]
    early = [run for number, run in every.items() if by_state[number] == JobState.PRUNED]
    try:
        comparison = compare_runs(runs, ways=ways)
    except ConfigError as error:  # a metric that none has
        console.note(str(error))
        return
    if sum(run.is_measured for run in runs) > 1:
        print_groups(comparison, console)
        print_best_two(comparison, console)
    if not wants_page(words, every.values()):
        return
    from nnrun.runs.page import write_page  # noqa: PLC0415 - a sweep without a page does not need it

    command = shlex.join(["nnrun", "-m", *words])
    page = page_of(with_importance(comparison, early), "Jobs of a sweep", command, without_result(results))
    try:
        write_page(page, folder / PAGE_NAME)
        write_link(folder / ALIAS_NAME, PAGE_NAME)
    except ResourceError as error:
        console.note(str(error))
        return
    console.say(f"the jobs side by side: {folder / PAGE_NAME}")


def wants_page(words: Sequence[str], runs: Iterable[Run]) -> bool:
    """Return whether a sweep has a page: not with `report=none`, in its words or in the YAML file of all its jobs."""
    known = [run.has_report for run in runs if run.settings is not None]
    return any(known) if known else "report=none" not in words


def without_result(results: Sequence[JobResult]) -> list[Section]:
    """Return the section of the page on the jobs that failed, with their reasons, and on how many were ended early."""
    failed = sorted((row for row in results if row.state == JobState.FAILED), key=lambda row: row.number)
    num_pruned = sum(row.state == JobState.PRUNED for row in results)
    shown: list[Shown] = []
    if failed:
        rows = [
            [row.number, " ".join(f"{key}={value}" for key, value in row.overrides.items()), row.exit_code, row.reason]
            for row in failed[:_MOST_LISTED]
        ]
        more = f"{counted(len(failed) - len(rows), 'more job')} in {CSV_NAME}." if len(failed) > len(rows) else ""
        title = f"{len(failed):,} of {counted(len(results), 'job')} failed"
        shown.append(Table(title, ["job", "settings", "exit code", "reason"], rows, more))
    if num_pruned:
        text = f"{num_pruned:,} of {counted(len(results), 'job')} were ended early by the search (pruned)."
        shown.append(Text("", f"{text} Their best validations are in {CSV_NAME}."))
    return [Section("Failures" if failed else "Ended early", shown)] if shown else []
