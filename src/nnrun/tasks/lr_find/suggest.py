"""Learning rates suggested by a range test, from its learning rates and smoothed losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# The test stops once the smoothed loss exceeds this multiple of its minimum (fastai).
DIVERGED = 4.0
# Of the average, in a hundred steps.
_DECAY = 0.85
# The fraction of steps at the start of which no suggestion is made (fastai), and the number of those that must be left.
_SKIPPED_FRACTION, _LEAST_STEPS = 0.1, 5
# A fall of the smoothed loss by less than this fraction is noise.
_LEAST_FALL = 0.02


class Smoothed:
    """An exponential average of losses, without the bias of its start.

    It spans the same part of the range, however many steps that has. fastai's 0.98 in a hundred steps would make it
    lag behind by half of the range.
    """

    def __init__(self, num_steps: int) -> None:
        self._decay, self._sum, self._count = _DECAY ** (100 / num_steps), 0.0, 0

    def add(self, loss: float) -> float:
        """Take the next loss and return the average."""
        self._count += 1
        self._sum = self._decay * self._sum + (1 - self._decay) * loss
        return self._sum / (1 - self._decay**self._count)


@dataclass(frozen=True)
class Suggestion:
    """The learning rates suggested, by method, the name of the one to use, and why; or why there is none."""

    rates: dict[str, float]
    recommended: str | None
    why: str

    @property
    def rate(self) -> float | None:
        """The learning rate to use, with two significant digits."""
        return float(f"{self.rates[self.recommended]:.2g}") if self.recommended else None


def suggest(rates: Sequence[float], smoothed: Sequence[float], num_steps: int, *, diverged: bool) -> Suggestion:
    """Return the learning rates that a range test suggests; `num_steps` were planned, fewer if it diverged."""
    first = int(num_steps * _SKIPPED_FRACTION)
    rates, losses = rates[first:], smoothed[first:]
    if len(rates) < _LEAST_STEPS:
        return Suggestion({}, None, "the loss diverged at once: choose a smaller lr_find.min")
    lowest = min(range(len(losses)), key=losses.__getitem__)
    highest = max(losses[: lowest + 1])
    edge = highest - _LEAST_FALL * abs(highest)
    if losses[lowest] > edge:
        if diverged:
            return Suggestion({}, None, "the loss rises without having fallen: choose a smaller lr_find.min")
        return Suggestion({}, None, "the loss does not fall at any learning rate: choose a larger lr_find.max")
    # Before this, there is only noise.
    begin = max(index for index in range(lowest) if losses[index] >= edge)
    descent, falling = rates[begin : lowest + 1], losses[begin : lowest + 1]
    found = {"valley": descent[valley(falling)], "steepest": descent[steepest(descent, falling)]}
    end = f"the loss falls between learning rates of {descent[0]:.2g} and {descent[-1]:.2g}"
    if not diverged:
        end += " and does not diverge; with a larger lr_find.max it may fall further"
    if found["steepest"] <= found["valley"]:
        return Suggestion(found, "steepest", f"the loss falls fastest there, early in the descent; {end}")
    return Suggestion(found, "valley", f"it is in the middle of the descent; {end}")


def steepest(rates: Sequence[float], losses: Sequence[float]) -> int:
    """Return the index at which the loss falls fastest over the logarithm of the learning rate."""
    slopes = [
        (after - before) / (math.log(rates[index + 1]) - math.log(rates[index]))
        for index, (before, after) in enumerate(pairwise(losses))
    ]
    return min(range(len(slopes)), key=slopes.__getitem__)


def valley(losses: Sequence[float]) -> int:
    """Return the index in the middle of the longest descent: the longest falling subsequence (fastai's valley)."""
    # Of each subsequence that ends at an index: its length, and where it began.
    lengths, starts = [1] * len(losses), list(range(len(losses)))
    for index in range(1, len(losses)):
        for before in range(index):
            if losses[index] < losses[before] and lengths[index] <= lengths[before]:
                lengths[index], starts[index] = lengths[before] + 1, starts[before]
    end = max(range(len(losses)), key=lengths.__getitem__)
    return (starts[end] + end) // 2
