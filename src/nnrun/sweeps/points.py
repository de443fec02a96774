"""Repeats of a sweep: jobs that differ in the seed or the fold alone are one point, known by its mean and interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box

from nnrun.base.shown import metric_text
from nnrun.runs.sheet import Sheet
from nnrun.sweeps.ranking import Ranking, choose_ranking, is_measured, key_of, order, value_by
from nnrun.sweeps.table import JobResult

# The 97.5 % quantiles of Student's t distribution for 1 to 30 degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Point:
    """Settings that a sweep tried, without the repeats': how many of their jobs were measured, and what they reached.

    `interval` is the 95 % confidence interval of the mean, by Student's t; None for less than two jobs.
    """

    point: int
    overrides: dict[str, str]
    jobs: list[int]
    num_measured: int
    metric: str | None
    mean: float | None
    interval: tuple[float, float] | None


def points_of(rows: Sequence[JobResult], repeated: Sequence[str]) -> list[Point]:
    """Return the points of some jobs, best first; `repeated` are the keys that differ between repeats."""
    ranking = choose_ranking(rows)
    by_point: dict[int, list[JobResult]] = {}
    for row in order(rows, ranking):
        by_point.setdefault(key_of(row), []).append(row)
    return [_point(number, jobs, ranking, repeated) for number, jobs in by_point.items()]


def _point(number: int, jobs: Sequence[JobResult], ranking: Ranking, repeated: Sequence[str]) -> Point:
    measured = [job for job in jobs if is_measured(job)]
    found = [value for job in measured if (value := value_by(job, ranking)) is not None]
    mean = statistics.fmean(found) if found else None
    overrides = {key: value for key, value in jobs[0].overrides.items() if key not in repeated}
    numbers = sorted(job.number for job in jobs)
    return Point(number, overrides, numbers, len(measured), ranking.metric, mean, interval_of(found))


def interval_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the mean of some values; None for less than two."""
    if len(values) < 2:
        return None
    degrees = len(values) - 1
    # Beyond the table, the first terms of its expansion around the normal distribution's.
    t = _T[degrees - 1] if degrees <= len(_T) else 1.96 + 2.372 / degrees
    mean, half = statistics.fmean(values), t * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def as_points(points: Sequence[Point]) -> Sheet:
    """Return the points as a table for the terminal: the mean of each, its interval, and how many jobs it has."""
    keys = list(dict.fromkeys(key for point in points for key in point.overrides))
    table = Sheet(box=box.SIMPLE_HEAD, pad_edge=False)
    metric = next((point.metric for point in points if point.metric), None) or "metric"
    for title in (*keys, f"mean {metric}", "95 % interval", "jobs"):
        table.add_column(title, overflow="fold")
    for point in points:
        interval = " to ".join(map(metric_text, point.interval)) if point.interval else "-"
        mean = "-" if point.mean is None else metric_text(point.mean)
        count = (
            str(len(point.jobs))
            if point.num_measured == len(point.jobs)
            else f"{point.num_measured} of {len(point.jobs)}"
        )
        table.add_row(*(point.overrides.get(key, "") for key in keys), mean, interval, count)
    return table
