"""How the seconds that a training takes follow from what is timed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# How often the end of an epoch is timed beside steps, and how long the work of `slowness` takes on an idle machine.
_CLOSINGS, _WORK_SECONDS = 3, 0.044


@dataclass(frozen=True)
class Speed:
    """The seconds that the parts of a training take.

    `step` is the mean of those timed and its standard error. `closing` is by how much the end of an epoch delays the
    steps: its validation, and its checkpoint, which is written beside the steps that follow; `saving` is the part of
    the checkpoint. `last` is the end of the last epoch, whose checkpoint is waited for. `start` is what comes before
    the first step, `end` what follows the last validation.
    """

    step: float
    closing: float
    saving: float
    last: float
    start: float
    end: float


@dataclass(frozen=True)
class Closing:
    """What ends an epoch: `close` validates and begins to write a checkpoint, `step` takes a step, `wait` waits."""

    close: Callable[[], None]
    step: Callable[[], object]
    is_writing: Callable[[], bool]
    wait: Callable[[], None]


def closing_seconds(
    it: Closing, step: float, steps_per_epoch: int, longest: float, now: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Return the seconds of the end of the last epoch, and by how much the end of any other delays the steps.

    `step` is the time of one without that. What takes longer than `longest` is not timed again.
    """
    start = now()
    it.close()
    it.wait()
    last, delays = now() - start, []
    if last > longest:
        return last, last
    it.close()
    for _ in range(_CLOSINGS):
        start, num_steps = now(), 0
        while it.is_writing() and num_steps < steps_per_epoch:
            it.step()
            num_steps += 1
        closed = now()
        it.close()
        delays.append(now() - start - num_steps * step)
    it.wait()
    return now() - closed, max(0.0, statistics.median(delays))


def slowness(now: Callable[[], float] = time.perf_counter) -> float:
    """Return how many times as long as on a fast and idle machine Python takes here and now for a little work; >= 1."""
    start, counts = now(), dict.fromkeys(map(str, range(1000)), 0)
    for number in range(200_000):
        counts[str(number % 1000)] += 1
    return max(1.0, (now() - start) / _WORK_SECONDS)


def upper_mean(seconds: Sequence[float]) -> float:
    """Return the mean and its standard error together: what the mean of many more will hardly exceed."""
    error = statistics.stdev(seconds) / math.sqrt(len(seconds)) if len(seconds) > 1 else 0.0
    return statistics.fmean(seconds) + error
