"""The table of a sweep on the terminal."""

from __future__ import annotations

import pytest

from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import JobResult, as_table


@pytest.mark.parametrize(("last", "is_said"), [(JobState.PRUNED, True), (JobState.FINISHED, False)])
def test_a_job_that_was_ended_early_is_told_from_one_that_finished(last: JobState, is_said: bool) -> None:
    """Negative control: where all finished, the exit code says it, and there is no such column."""
    states = (JobState.FINISHED, last)
    rows = [JobResult(number, {"seed": "0"}, "", 0, state) for number, state in enumerate(states)]
    titles = [str(column.header) for column in as_table(rows, ["seed"], []).columns]
    assert ("state" in titles) == is_said
