"""Repeats that count as one point: the mean decides, and its interval is Student's."""

from __future__ import annotations

import pytest

from nnrun.sweeps.points import interval_of, points_of
from nnrun.sweeps.table import JobResult, ranked


def row(number: int, point: int, value: float | None) -> JobResult:
    code = 0 if value is not None else 2
    overrides = {"lr": str(point), "seed": str(number)}
    return JobResult(number, overrides, "", code, "finished", "valid/loss", value, "min", point=point)


def test_points_are_ranked_by_their_mean_and_not_by_their_best_job() -> None:
    """Negative control: as jobs of their own, the lucky one comes first."""
    values = [(0, 0.1), (0, 0.9), (1, 0.3), (1, 0.4), (2, None), (2, 0.6)]
    rows = [row(number, point, value) for number, (point, value) in enumerate(values)]
    assert [each.number for each in ranked(rows)] == [2, 3, 0, 1, 5, 4]
    found = points_of(rows, ["seed"])
    assert [(it.point, it.overrides, it.jobs, it.num_measured) for it in found] == [
        (1, {"lr": "1"}, [2, 3], 2),
        (0, {"lr": "0"}, [0, 1], 2),
        (2, {"lr": "2"}, [4, 5], 1),
    ]
    assert found[0].mean == pytest.approx(0.35)
    assert found[2].interval is None
    for each in rows:
        each.point = None
    assert [each.number for each in ranked(rows)] == [0, 2, 3, 5, 1, 4]


def test_the_interval_is_students() -> None:
    """By scipy.stats.t.interval: five values, two values, and forty."""
    assert interval_of([1, 2, 3, 4, 5]) == pytest.approx((1.0368, 4.9632), abs=1e-3)
    assert interval_of([0, 1]) == pytest.approx((-5.8531, 6.8531), abs=1e-3)
    assert interval_of([number % 2 for number in range(40)]) == pytest.approx((0.33806, 0.66194), abs=1e-3)
