"""Calibration: whether what is predicted with a probability of 80 % is right in 80 % of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.base.shown import Chart
from nnrun.runs.intervals import Z, wilson

Array = np.ndarray[Any, Any]
NUM_BINS = 15
# Half of the smallest number above 0 in half precision, in which probabilities are kept: what became 0 is below it.
_SMALLEST = 2.0**-25
# The temperatures that are looked for, and the precision of their logarithm.
_COLDEST, _HOTTEST, _PRECISION = 1e-2, 1e2, 1e-6


@dataclass(frozen=True, eq=False)
class Bins:
    """Samples in equal-width bins of confidence: their number, their mean confidence, how many are right, `(15,)`.

    `by_chance` is the error that perfect calibration would have on average with so few samples, approximately.
    """

    counts: Array
    confidence: Array
    right: Array
    by_chance: float

    @property
    def ece(self) -> float:
        """The expected calibration error of Guo et al., 2017 (arXiv:1706.04599)."""
        gaps = np.abs(self.right - self.counts * self.confidence)
        return float(gaps.sum() / self.counts.sum())


def binned(confidences: Array, is_right: Array) -> Bins:
    """Put samples into bins by their confidence, `(N,)`: bin m of M holds those above (m - 1)/M, up to m/M."""
    values = confidences.astype(np.float64)
    bins = np.clip(np.ceil(values * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts, sums, right, spread = (
        np.bincount(bins, weights, NUM_BINS) for weights in (None, values, is_right, values * (1 - values))
    )
    # The mean absolute deviation of a count: that of a normal distribution, and never more than the sum of each one's.
    chance = np.minimum(np.sqrt(2 / np.pi * spread), 2 * spread).sum() / len(values)
    return Bins(counts, sums / np.maximum(counts, 1), right, float(chance))


def ece_fact(bins: Bins) -> tuple[str, str]:
    """Return the calibration error, and what it would be by chance, as a fact of a table."""
    chance = f"a perfectly calibrated network would have about {bins.by_chance:.4f} by chance"
    return "ECE", f"{bins.ece:.4f} (expected calibration error, {NUM_BINS} bins; {chance})"


def reliability_chart(bins: Bins, share: str, confidence: str = "confidence") -> Chart:
    """Return the reliability diagram: the share that is right against the confidence, with 95 % intervals."""
    used = np.flatnonzero(bins.counts)
    bounds = [wilson(bins.right[m], bins.counts[m]) for m in used]
    low, high = "95 % interval, from", "95 % interval, to"
    series = {
        share: (bins.right[used] / bins.counts[used]).tolist(),
        low: [lower for lower, _ in bounds],
        high: [upper for _, upper in bounds],
    }
    note = f"Each point is one of {NUM_BINS} bins. Below the diagonal the {confidence} is too high, above it too low."
    x = bins.confidence[used].tolist()
    return Chart(
        "Reliability diagram",
        "line",
        x,
        series,
        f"mean {confidence}",
        share,
        diagonal=True,
        bands=[(low, high)],
        note=note,
    )


def confidence_chart(bins: Bins, confidence: str = "confidence") -> Chart:
    """Return the number of samples in each bin of confidence."""
    x = [(m + 0.5) / NUM_BINS for m in range(NUM_BINS)]
    return Chart(f"Histogram of {confidence}", "bars", x, {"samples": bins.counts.tolist()}, confidence, "samples")


def verdict(confidences: Array, is_right: Array, low: str = "underconfident", high: str = "overconfident") -> str:
    """Say whether the confidence is too high or too low, by more than chance explains in 95 of 100 cases."""
    values = confidences.astype(np.float64)
    gap = float(values.mean() - is_right.mean())
    error = Z * math.sqrt(float((values * (1 - values)).sum())) / len(values)
    if abs(gap) <= error:
        return f"neither {low} nor {high} on average, as far as these samples can tell"
    return f"{high if gap > 0 else low}: by {abs(gap):.3f} on average"


@dataclass(frozen=True)
class Temperature:
    """The number by which scores are divided to calibrate them, and the loss without it and with it.

    `value` is None if there is no best temperature, or it lies beyond those looked for.
    """

    value: float | None
    loss_before: float
    loss_after: float


def log_probabilities(probabilities: Array) -> Array:
    """Return the logarithms of kept probabilities, which are scores up to a constant."""
    return np.log(np.maximum(probabilities.astype(np.float32), np.float32(_SMALLEST)))


def fit_temperature(scores: Array, targets: Array) -> Temperature:
    """Find the temperature with the smallest negative log-likelihood of targets `(N,)`, by scores `(N, C)`.

    In the inverse of the temperature it is convex: Newton's method, kept within bounds that close in.
    """
    rows = np.arange(len(targets))
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    # Relative to the target's score, the likelihood does not overflow and the target's own term is 0.
    relative = scores - scores[rows, targets][:, None]

    def loss_at(inverse: float) -> tuple[float, float, float]:
        scaled = relative * np.float32(inverse)
        top = scaled.max(1, keepdims=True)
        shares = np.exp(scaled - top)
        total = shares.sum(1)
        mean = np.einsum("nc,nc->n", shares, relative) / total
        square = np.einsum("nc,nc,nc->n", shares, relative, relative) / total
        loss = (np.log(total) + top[:, 0]).mean(dtype=np.float64)
        return float(loss), float(mean.mean(dtype=np.float64)), float((square - mean * mean).mean(dtype=np.float64))

    before, slope, curvature = loss_at(1.0)
    if (relative <= 0).all() or loss_at(low)[1] >= 0:
        return Temperature(None, before, before)  # all samples are right, or scores say less than nothing
    inverse = 1.0
    for _ in range(60):
        if slope > 0:
            high = inverse
        else:
            low = inverse
        step = inverse - slope / curvature if curvature > 0 else math.inf
        following = step if low < step < high else math.sqrt(low * high)
        is_found = abs(math.log(following / inverse)) < _PRECISION
        inverse = following
        loss, slope, curvature = loss_at(inverse)
        if is_found:
            break
    is_within = _COLDEST * 1.01 < 1 / inverse < _HOTTEST / 1.01
    return Temperature(1 / inverse if is_within else None, before, loss)


def at_temperature(scores: Array, temperature: float) -> Array:
    """Return the largest probability of each sample, `(N,)`, with scores divided by a temperature."""
    scaled = (scores - scores.max(1, keepdims=True)) / np.float32(temperature)
    confidences: Array = 1 / np.exp(scaled).sum(1)
    return confidences
