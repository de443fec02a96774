"""95 % confidence intervals of metrics over the samples of a test."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# The 97.5 % quantile of the standard normal distribution.
Z = 1.959963984540054
_NUM_RESAMPLES = 1000
# With more samples, random groups of them are drawn as wholes, which is faster and as good: the error of the interval's
# width (1.6 %) stays below that of the number of resamples.
_MOST_GROUPS = 2000


def wilson(num_right: float, num_samples: int) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share, from how many of the samples count; `num_samples` is above 0."""
    share, spread = num_right / num_samples, Z * Z / num_samples
    middle = share + spread / 2
    half = Z * math.sqrt(max(share * (1 - share), 0) / num_samples + spread / (4 * num_samples))
    # Rounding must not take a bound beyond the share.
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def bootstrap(
    rows: Array, metric: Callable[[Array], Array], num_resamples: int = _NUM_RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile interval (Efron 1979) of a metric that follows from sums over samples.

    `rows` is what each sample adds to the sums, `(N, M)`; `metric` turns sums, `(R, M)`, into a number for each row,
    `(R,)`, NaN where there is none. The resamples are the same in each call with the same `seed`. None for fewer than
    two samples, and where the metric is never a number.
    """
    num = len(rows)
    if num < 2:
        return None
    if num > _MOST_GROUPS:
        order = np.argsort(_groups(num), kind="stable")
        rows, num = np.add.reduceat(rows[order], np.arange(_MOST_GROUPS) * num // _MOST_GROUPS), _MOST_GROUPS
    draws = np.random.default_rng(seed)
    # How often each sample is drawn is distributed as a multinomial: weights, `(R, N)`.
    drawn = draws.integers(num, size=(num_resamples, num)) + num * np.arange(num_resamples)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(num_resamples, num)
    with np.errstate(all="ignore"):
        values = metric(weights.astype(np.float64) @ rows.astype(np.float64))
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high


def of_label_f1(predicted: Array, targets: Array) -> tuple[float, float] | None:
    """Return the interval of macro F1 over labels, from the predicted and the true ones, each `(N, K)` of 0 and 1."""
    return bootstrap(np.concatenate([predicted & targets, predicted + targets], axis=1), _macro_f1)


def of_class_f1(predicted: Array, targets: Array, num_classes: int) -> tuple[float, float] | None:
    """Return the interval of macro F1 over classes, from the predicted and the true class numbers, each `(N,)`."""
    if len(targets) < 2:
        return None
    group = _groups(len(targets))
    num_groups = int(group.max()) + 1

    def counts(classes: Array, group: Array) -> Array:
        cells = np.bincount(group * num_classes + classes, minlength=num_groups * num_classes)
        return cells.reshape(num_groups, num_classes)

    is_right = predicted == targets
    marks = counts(predicted, group) + counts(targets, group)
    return bootstrap(np.concatenate([counts(targets[is_right], group[is_right]), marks], axis=1), _macro_f1)


def _macro_f1(sums: Array) -> Array:
    """Return macro F1 from the hits of each class or label, then the marks: how often it is predicted and true.

    As in the metric, one that neither occurs nor is predicted is left out of the mean.
    """
    hits, marks = np.split(sums, 2, axis=1)
    return np.where(marks > 0, 2 * hits / marks, 0).sum(1) / (marks > 0).sum(1)


def _groups(num_samples: int) -> Array:
    """Return the number of the random group that each sample is in, `(N,)`; up to 2,000 samples have one each."""
    numbers = np.arange(num_samples) * min(_MOST_GROUPS, num_samples) // num_samples
    return numbers if num_samples <= _MOST_GROUPS else np.random.default_rng(1).permutation(numbers)


def of_r2(predictions: Array, targets: Array) -> tuple[float, float] | None:
    """Return the interval of the mean R2 over targets, from predicted and true values, each `(N, K)`."""
    num_targets = targets.shape[1]
    true = targets.astype(np.float64)
    with np.errstate(all="ignore"):
        errors = np.square(predictions - true)
        # R2 does not change with the scale; a mean far from 0 would cost digits.
        true = true - true.mean(0)
    ones = np.ones((len(true), 1))

    def mean_r2(sums: Array) -> Array:
        squared_errors, totals, squares = (sums[:, i * num_targets : (i + 1) * num_targets] for i in range(3))
        return (1 - squared_errors / (squares - np.square(totals) / sums[:, -1:])).mean(1)

    return bootstrap(np.concatenate([errors, true, np.square(true), ones], axis=1), mean_r2)
