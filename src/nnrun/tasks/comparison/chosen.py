"""The runs that `runs=` names, read: of those that a search finds, the trainings."""

from __future__ import annotations

from collections import Counter

from nnrun.base.errors import ArtifactError
from nnrun.base.paths import abbreviated
from nnrun.base.shown import counted
from nnrun.config.task import task_called
from nnrun.tasks.comparison.found import find_runs
from nnrun.tasks.comparison.read_run import Run, read
from nnrun.tasks.table import collect_tasks


def read_runs(text: str) -> tuple[list[Run], list[str]]:
    """Return the runs that the value of `runs=` names, and notes; raise ArtifactError if there are none.

    A search leaves out what is known to be no training, such as predictions: it has nothing to rank. Such a run is
    taken if it is named itself.
    """
    found = find_runs(text)
    runs, left_out = [], Counter[str]()
    for run in map(read, found.runs):
        if run.is_named or not is_no_training(run):
            runs.append(run)
        else:
            left_out[str(run.task)] += 1
    notes = list(found.notes)
    if left_out:
        listed = ", ".join(f"{number:,} of task={name}" for name, number in sorted(left_out.items()))
        notes.append(f"not looked at, since nothing was trained in them: {counted(left_out.total(), 'run')} ({listed})")
    if not runs:
        raise ArtifactError(f"runs={abbreviated(text)} holds no training; {'; '.join(notes)}")
    return runs, notes


def is_no_training(run: Run) -> bool:
    """Return whether a run is known to train nothing."""
    task = task_called(run.task, collect_tasks())
    return task is not None and not task.trains
