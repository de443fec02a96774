"""What is said of jobs that failed."""

from __future__ import annotations

import pytest

from nnrun.sweeps.results import say_failures
from nnrun.sweeps.seams import JobState
from nnrun.sweeps.table import JobResult


@pytest.mark.parametrize(
    ("reasons", "num_jobs", "said"),
    [
        (["a"] * 16, 16, ["all 16 jobs: a"]),
        (["a"] * 3, 4, ["jobs 0, 1, 2: a"]),
        (["a", "b", "a"], 3, ["jobs 0, 2: a", "job 1: b"]),
        (["a"], 1, ["job 0: a"]),
        (["a\nb", "a\nb"], 2, ["all 2 jobs: a", "all 2 jobs: b"]),
        (["a"] * 20, None, ["jobs 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: a"]),
    ],
)
def test_a_reason_that_several_jobs_have_is_said_once(
    reasons: list[str], num_jobs: int | None, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [JobResult(number, {}, "", 2, JobState.FAILED, reason=reason) for number, reason in enumerate(reasons)]
    say_failures(rows, num_jobs)
    assert capsys.readouterr().err.splitlines() == [f"nnrun: {line}" for line in said]
