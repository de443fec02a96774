"""Statistics of paired results: tests, intervals of differences, and how many samples a difference needs to show.

Pure functions. The tests are checked against scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95
# The usual power: the probability that a test finds a difference that is there.
POWER = 0.8
_BOOTSTRAPS = 2_000
_BOOTSTRAP_SEED = 0
# Of fewer differences, the exact distribution of the signed ranks is used, if no two are equal.
_FEW = 50
# Resamples times samples that are in memory at once.
_MOST_DRAWN = 2**24
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_Z_POWER = NormalDist().inv_cdf(POWER)
# The relative efficiency of the signed-rank test for normal differences: 3 / pi.
_EFFICIENCY = 3 / math.pi


@dataclass(frozen=True)
class Tested:
    """A paired test: the mean difference with its interval, the p-value, and the samples that a test would need.

    `needed` is the number of samples with which a difference of this size is found with a power of POWER; None where
    there is no difference.
    """

    difference: float
    low: float
    high: float
    p: float
    needed: int | None


def mcnemar(only_first: int, only_second: int, num_samples: int) -> Tested:
    """Test whether two classifiers are right equally often: McNemar's exact test, two-sided.

    `only_first` and `only_second` are the samples that only one of them has right. The interval of the difference is
    that of Agresti and Min (2005), the number of samples that of Connor (1987).
    """
    discordant = only_first + only_second
    difference = (only_first - only_second) / num_samples
    # Half a sample in each of the four cells: without it, the interval of few discordant samples is too narrow.
    total = num_samples + 2
    first, second = (only_first + 0.5) / total, (only_second + 0.5) / total
    half = _Z * math.sqrt(max(first + second - (first - second) ** 2, 0) / total)
    low, high = first - second - half, first - second + half
    needed = None
    if only_first != only_second:
        share = discordant / num_samples
        root = _Z * math.sqrt(share) + _Z_POWER * math.sqrt(max(share - difference**2, 0))
        needed = math.ceil((root / difference) ** 2)
    return Tested(
        difference, max(low, -1.0), min(high, 1.0), _two_sided(min(only_first, only_second), discordant), needed
    )


def _two_sided(least: int, number: int) -> float:
    """Return the probability of at most `least` heads, or tails, in fair throws."""
    if number == 0:
        return 1.0
    logs = (math.lgamma(number + 1) - math.lgamma(k + 1) - math.lgamma(number - k + 1) for k in range(least + 1))
    return min(1.0, 2 * math.fsum(math.exp(log - number * math.log(2)) for log in logs))


def signed_ranks(differences: np.ndarray[Any, Any]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test of paired differences `(N,)`; zeros are left out.

    Exact for up to 50 differences without ties, else the normal approximation, corrected for ties.
    """
    import numpy as np  # noqa: PLC0415 - only where values are compared

    kept = differences[differences != 0]
    number = len(kept)
    if number == 0:
        return 1.0
    _, inverse, counts = np.unique(np.abs(kept), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = float(ranks[kept > 0].sum())
    total = number * (number + 1) / 2
    least = min(positive, total - positive)
    if number <= _FEW and counts.max() == 1 and number == len(differences):
        ways = np.zeros(int(total) + 1)
        ways[0] = 1.0
        for rank in range(1, number + 1):
            ways[rank:] += ways[:-rank].copy()
        return float(min(1.0, 2 * ways[: int(least) + 1].sum() / 2.0**number))
    variance = number * (number + 1) * (2 * number + 1) / 24 - float((counts**3 - counts).sum()) / 48
    if variance <= 0:
        return 1.0
    return 2 * NormalDist().cdf((least - total / 2) / math.sqrt(variance))


def paired_values(differences: np.ndarray[Any, Any]) -> Tested:
    """Test paired differences `(N,)`: Wilcoxon's signed-rank test, and a paired bootstrap of the mean difference.

    The bootstrap has a fixed seed: the interval is the same each time.
    """
    import numpy as np  # noqa: PLC0415 - only where values are compared

    number, mean = len(differences), float(differences.mean())
    draw, means = np.random.default_rng(_BOOTSTRAP_SEED), list[Any]()
    each = max(1, min(_BOOTSTRAPS, _MOST_DRAWN // max(number, 1)))
    while sum(map(len, means)) < _BOOTSTRAPS:
        means.append(differences[draw.integers(0, number, (each, number))].mean(1))
    low, high = np.quantile(np.concatenate(means)[:_BOOTSTRAPS], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    deviation = float(differences.std(ddof=1)) if number > 1 else 0.0
    needed = None
    if mean != 0 and deviation > 0:
        needed = math.ceil(((_Z + _Z_POWER) * deviation / mean) ** 2 / _EFFICIENCY)
    return Tested(mean, float(low), float(high), signed_ranks(differences), needed)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, after Holm (1979), in the same order."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [1.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = largest
    return corrected


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"
