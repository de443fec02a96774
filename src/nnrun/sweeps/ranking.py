"""The ranking of a sweep's jobs: best first, by a validation metric that means the same in all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nnrun.config.monitor import LOSS, PREFIX
from nnrun.sweeps.seams import JobState
from nnrun.tasks.comparison.yardstick import Yardstick


class Rankable(Protocol):
    """The results of a job that its rank depends on."""

    number: int
    point: int | None
    state: str
    exit_code: int | None
    monitor: str | None
    monitored: float | None
    mode: str | None
    metrics: dict[str, float]
    yardstick: Yardstick


@dataclass(frozen=True)
class Ranking:
    """The metric to rank by (None: the jobs cannot be compared), whether lower is better, and a note."""

    metric: str | None
    is_less_better: bool = False
    note: str | None = None


def choose_ranking(results: Sequence[Rankable]) -> Ranking:
    """Choose the metric by which the jobs that were measured can be compared."""
    measured = [result for result in results if is_measured(result)]
    if not measured:
        return Ranking(None)
    first = measured[0]
    if differing := _differing([result.yardstick.samples for result in measured]):
        return Ranking(
            None, note=f"not ranked: the jobs differ in {', '.join(differing)}, and may validate on different samples"
        )
    losses = _differing([result.yardstick.loss for result in measured])
    monitors = dict.fromkeys(str(result.monitor) for result in measured)
    if len(monitors) == 1 and not (losses and first.monitor == LOSS):
        return Ranking(first.monitor, first.mode == "min")
    why = (
        f"the jobs differ in {', '.join(losses)}, so their losses cannot be compared"
        if losses
        else f"the jobs monitor different metrics ({', '.join(monitors)})"
    )
    # These replace a loss that differs between jobs.
    headlines = dict.fromkeys(f"{PREFIX}{result.yardstick.headline}" for result in measured)
    if len(headlines) == 1 and all(result.metrics.keys() >= headlines.keys() for result in measured):
        headline = next(iter(headlines))
        return Ranking(headline, note=f"ranked by {headline}: {why}")
    return Ranking(None, note=f"not ranked: {why}, and not all have {' and '.join(headlines)}")


def order(results: Sequence[Rankable], ranking: Ranking) -> list[Any]:
    """Return the jobs, best first; without a metric, in their original order.

    Repeats of a point are together, by their mean. Those that a search ended early come after the others, and those
    that were not measured last.
    """
    by_point: dict[int, list[float]] = {}
    for result in results:
        value = value_by(result, ranking)
        if is_measured(result) and value is not None:
            by_point.setdefault(key_of(result), []).append(value)
    first: dict[int, int] = {}
    for result in results:
        first[key_of(result)] = min(result.number, first.get(key_of(result), result.number))
    sign = 1 if ranking.is_less_better else -1

    def key(result: Rankable) -> tuple[bool, bool, float, int, bool, float, int]:
        values, value = by_point.get(key_of(result)), value_by(result, ranking)
        is_early = result.state == JobState.PRUNED and ranking.metric is not None
        if ranking.metric is None:
            return False, False, 0.0, 0, False, 0.0, result.number
        mean = sign * statistics.fmean(values) if values else 0.0
        is_known = is_measured(result) and value is not None
        own = sign * value if is_known and value is not None else 0.0
        return values is None, is_early, mean, first[key_of(result)], not is_known, own, result.number

    return sorted(results, key=key)


def key_of(result: Rankable) -> int:
    """Return the number of a job's point, or, for a job that is none's, one of its own."""
    return -1 - result.number if result.point is None else result.point


def value_by(result: Rankable, ranking: Ranking) -> float | None:
    """Return the value of a job by which it is ranked."""
    return result.monitored if ranking.metric == result.monitor else result.metrics.get(str(ranking.metric))


def is_measured(result: Rankable) -> bool:
    """Return whether a job finished with a value of its monitored metric."""
    return result.exit_code == 0 and result.monitored is not None and not math.isnan(result.monitored)


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ between some settings."""
    keys = dict.fromkeys(key for flat in settings for key in flat)
    return [key for key in keys if any(flat.get(key) != settings[0].get(key) for flat in settings)]
