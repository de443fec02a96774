"""The record of `task=compare`, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.config.ranges import TITLE, Range, whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class CompareSettings:
    """By which metric runs are ranked, and how much is shown."""

    metric: str | None
    rows: int
    tests: int


TASK = Task(
    name="compare",
    run="nnrun.tasks.compare.run.compare",
    help=(
        ("nnrun task=compare runs=outputs", "a table of all runs below a folder, best first, and compare.html"),
        ("nnrun task=compare runs=[RUN,RUN]", "two runs, tested on the same samples"),
    ),
    help_adds="runs= is a run directory, a folder that is searched for runs, a pattern such as 'outputs/*/*cnn*', or a "
    "list of these. Found are the trainings; any other run is compared if it is named itself.",
    settings=CompareSettings,
    ranges={
        "compare.metric": Range(
            lambda v: v is None or TITLE.holds(v), "the name of a metric, such as test/accuracy, or null"
        ),
        "compare.rows": whole(1),
        "compare.tests": whole(2, 100),
    },
    reads_alone=("runs",),
    needs={"runs": "task=compare needs runs=: a folder of runs, a pattern in quotes, or a list such as runs=[a,b]"},
    takes_only=("runs", "compare.metric", "compare.rows", "compare.tests", "hydra.run.dir"),
    unread_with="task=compare, which only reads finished runs",
    builds=(),
    not_swept="task=compare compares runs and cannot be a job of a sweep; a sweep ends with a comparison of its jobs",
)
