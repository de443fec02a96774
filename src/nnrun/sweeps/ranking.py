"""In which order the jobs of a sweep stand: best first by a validation metric that all of them share the meaning of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nnrun.config.monitor import LOSS, PREFIX

# What decides which samples are validated on; of the section `dataset` all but how samples are shown.
_SAMPLES = ("name", "root", "limit", "split_seed", "split_by", "val_fraction", "dataset")
_SHOWING = (
    *("mean", "std", "image_size", "channels", "in_shape", "num_outputs", "num_classes", "facts"),
    *("download", "on_bad", "class_order", "white", "resize", "jpeg_draft", "targets"),
)


@dataclass(frozen=True)
class Yardstick:
    """What a job was measured with: its loss, and what chose its validation samples, as flat settings; and the metric
    to quote of its problem, of which more is better, where it has come to that.
    """

    loss: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    headline: str | None = None

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Yardstick:
        """Return that of a job's resolved config."""
        data = tree.get("data") or {}
        chosen = {key: data[key] for key in _SAMPLES if key in data}
        section = chosen.get("dataset")
        # What a parameter of the user's own class does to its samples is not known.
        if isinstance(section, Mapping) and str(section.get("_target_")).startswith("nnrun."):
            chosen["dataset"] = {key: value for key, value in section.items() if key not in _SHOWING}
        return cls(dict(_flat(tree.get("loss"), "loss")), dict(_flat(chosen, "data")))


class Rankable(Protocol):
    """A job, as far as its place depends on it."""

    number: int
    exit_code: int
    monitor: str | None
    monitored: float | None
    mode: str | None
    metrics: dict[str, float]
    yardstick: Yardstick


@dataclass(frozen=True)
class Ranking:
    """A metric to rank by, none where nothing can be compared, whether less of it is better, and what is to be said."""

    metric: str | None
    is_less_better: bool = False
    note: str | None = None


def choose_ranking(results: Sequence[Rankable]) -> Ranking:
    """Return by what the jobs that were measured can be compared with each other."""
    measured = [result for result in results if _is_measured(result)]
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
        else f"the jobs watch different metrics ({', '.join(monitors)})"
    )
    # What stands for a loss that is not the same in all jobs.
    headlines = dict.fromkeys(f"{PREFIX}{result.yardstick.headline}" for result in measured)
    if len(headlines) == 1 and all(result.metrics.keys() >= headlines.keys() for result in measured):
        headline = next(iter(headlines))
        return Ranking(headline, note=f"ranked by {headline}: {why}")
    return Ranking(None, note=f"not ranked: {why}, and not all have {' and '.join(headlines)}")


def order(results: Sequence[Rankable], ranking: Ranking) -> list[Any]:
    """Return the jobs best first, those that were not measured last; in their own order where nothing is compared."""

    def key(result: Rankable) -> tuple[bool, float, int]:
        value = result.monitored if ranking.metric == result.monitor else result.metrics.get(str(ranking.metric))
        if not _is_measured(result) or ranking.metric is None or value is None:
            return not _is_measured(result) and ranking.metric is not None, 0.0, result.number
        return False, value if ranking.is_less_better else -value, result.number

    return sorted(results, key=key)


def _is_measured(result: Rankable) -> bool:
    """Return whether a job came to its end with a number to be judged by."""
    return not result.exit_code and result.monitored is not None and not math.isnan(result.monitored)


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values are not the same in all of some settings."""
    keys = dict.fromkeys(key for flat in settings for key in flat)
    return [key for key in keys if any(flat.get(key) != settings[0].get(key) for flat in settings)]


def _flat(node: Any, key: str) -> list[tuple[str, Any]]:
    """Return the settings of a section by their full keys."""
    if isinstance(node, Mapping):
        return [pair for name, value in node.items() for pair in _flat(value, f"{key}.{name}")]
    return [(key, node)]
