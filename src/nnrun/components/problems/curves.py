"""ROC and precision-recall curves of one class or label against the rest, and the charts of several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nnrun.base.shown import Chart

Array = np.ndarray[Any, Any]
# A chart has a curve for each of up to this many classes; of more, the mean and the worst.
_MOST_CURVES, _NUM_WORST = 6, 5
# The false positive rates of a ROC curve, finer near 0; a precision-recall curve has these from its other end.
_GRID = np.concatenate([np.arange(50) / 500, np.arange(50, 501, 10) / 500])
# Ratios of counts are compared with points of the grid after rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Curve:
    """One class against the rest: the samples that a threshold at each distinct score takes for positive.

    `hits` and `false_alarms` are those of them that are positive and that are not, from the highest score down.
    """

    name: str
    hits: Array
    false_alarms: Array

    @cached_property
    def roc_auc(self) -> float:
        """The area under the ROC curve: the chance that a positive scores above a negative, ties counted by half."""
        true, false = (np.concatenate([[0], counts]) / counts[-1] for counts in (self.hits, self.false_alarms))
        return float((np.diff(false) * (true[1:] + true[:-1])).sum() / 2)

    @cached_property
    def average_precision(self) -> float:
        """The mean precision over the positives, without interpolation, as in scikit-learn."""
        gained = np.diff(self.hits, prepend=0) / self.hits[-1]
        return float((gained * self.hits / (self.hits + self.false_alarms)).sum())

    def true_positive_rates(self) -> Array:
        """Return the ROC curve at the points of the grid: straight between thresholds, which matters for ties."""
        true, false = (np.concatenate([[0], counts]) for counts in (self.hits, self.false_alarms))
        wanted = _GRID * false[-1]
        below = np.searchsorted(false, wanted + _ROUNDING, side="right") - 1
        above = np.minimum(below + 1, len(false) - 1)
        share = (wanted - false[below]).clip(0) / np.maximum(false[above] - false[below], 1)
        return (true[below] + share * (true[above] - true[below])) / true[-1]

    def precisions(self) -> Array:
        """Return at each recall of the grid the precision at the highest threshold that reaches it."""
        wanted = (1 - _GRID[::-1]) * self.hits[-1]
        at = np.searchsorted(self.hits, wanted - _ROUNDING, side="left")
        return self.hits[at] / (self.hits + self.false_alarms)[at]


def curve_of(name: str, scores: Array, is_positive: Array) -> Curve | None:
    """Return the curves of scores `(N,)`, which are higher for positives; None without both kinds of samples."""
    if is_positive.all() or not is_positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # The last sample of each score: a threshold cannot part equal scores.
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)
    hits = np.cumsum(is_positive[order])[last]
    return Curve(name, hits, last + 1 - hits)


def odds(probabilities: Array) -> Array:
    """Return for each class the odds against all others, `(N, C)`: in the order of its probability.

    Probabilities are kept in half precision, in which those near 1 are equal; what is left for the others is not.
    """
    values = probabilities.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(values / (values.sum(1, keepdims=True) - values), nan=0.0, posinf=np.inf)


def roc_chart(curves: Sequence[Curve]) -> Chart:
    """Return the ROC curves."""
    drawn = _chosen({curve: (curve.roc_auc, curve.true_positive_rates()) for curve in curves}, "AUC")
    note = "Against the rest of the samples. The closer to the upper left corner, the better; random is the diagonal."
    return Chart(
        "ROC curve", "line", _GRID.tolist(), drawn, "false positive rate", "true positive rate",
        diagonal=True, note=note,
    )  # fmt: skip


def precision_recall_chart(curves: Sequence[Curve]) -> Chart:
    """Return the precision-recall curves."""
    drawn = _chosen({curve: (curve.average_precision, curve.precisions()) for curve in curves}, "AP")
    note = "How much of a class is found, and how much of what is found is right, at each threshold."
    grid = (1 - _GRID[::-1]).tolist()
    return Chart("Precision-recall curve", "line", grid, drawn, "recall", "precision", note=note)


def _chosen(found: dict[Curve, tuple[float, Array]], area: str) -> dict[str, list[float]]:
    """Return the series to draw, by their names with their areas: of all, or the mean and the worst."""
    named = {f"{curve.name} ({area} {value:.4f})": values.tolist() for curve, (value, values) in found.items()}
    if len(found) == 1:
        return named
    areas = [value for value, _ in found.values()]
    mean = {f"macro average ({area} {np.mean(areas):.4f})": np.mean([v for _, v in found.values()], axis=0).tolist()}
    if len(found) <= _MOST_CURVES:
        return mean | named
    names = list(named)
    return mean | {names[row]: named[names[row]] for row in np.argsort(areas, kind="stable")[:_NUM_WORST]}
