"""Measure what caching a frozen backbone's features saves: the seconds of each epoch, including validation.

    python benchmarks/frozen.py            ResNet-18 on 1,000 of the digits, two epochs without the cache, eight with it

Both trainings run in one process, one after the other; the figure to look at is the ratio of their epochs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

from machine import OtherWork, machine
from nnrun.assembly.data.opened import open_data
from nnrun.assembly.objective import make_objective
from nnrun.assembly.preflight import prepare
from nnrun.assembly.training import make_step, make_training
from nnrun.assembly.transfer import keep_features
from nnrun.cli import compose
from nnrun.core.loop import fit
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.core.work import Work
from nnrun.runs.console import Console

WORDS = ("model=resnet18", "transfer.freeze=backbone", "data.limit=1000", "early_stopping=none", "export=none")
NUM_EPOCHS = {"false": 2, "true": 8}


class EpochTimes(Callback):
    """Record the time at the end of every epoch."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, state: TrainState) -> None:
        """Record the time."""
        self.ends.append(time.perf_counter())


def measure(words: Sequence[str]) -> tuple[float, list[float]]:
    """Return the seconds that computing the features took, and those of each epoch."""
    job = prepare(compose(words))
    data = open_data(job.settings.data, checks_batch=True)
    objective = make_objective(job, data)
    training = make_training(job, data, objective)
    start = time.perf_counter()
    times = EpochTimes()
    step = make_step(job.settings.trainer, training.state, objective)
    work = Work(objective, step, training.train, training.valid, [times])
    work, _ = keep_features(training.transfer, training.state, work, training.plan, Console())
    times.ends[:] = [time.perf_counter()]
    fit(training.state, work, training.plan)
    return times.ends[0] - start, [end - begin for begin, end in zip(times.ends, times.ends[1:], strict=False)]


def main() -> None:
    """Print the figures."""
    others = OtherWork()
    medians = {}
    for cache, epochs in NUM_EPOCHS.items():
        words = [*WORDS, f"transfer.cache={cache}", f"trainer.epochs={epochs}", *sys.argv[1:]]
        features_seconds, seconds = measure(words)
        medians[cache] = statistics.median(seconds)
        shown = " ".join(f"{value:.3f}" for value in seconds)
        median = f"median {medians[cache]:.3f} s"
        print(f"transfer.cache={cache}: features {features_seconds:.2f} s, epochs {shown} s, {median}")
    print(f"An epoch on cached features is {medians['false'] / medians['true']:.0f} times as fast.")
    print(machine())
    print(others.sentence())


if __name__ == "__main__":
    main()
