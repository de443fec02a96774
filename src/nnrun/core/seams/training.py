"""What a training is made of besides its data and its problem: its step, its schedule, and where its metrics go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from nnrun.core.seams.batch import Batch


class Stateful(Protocol):
    """What is saved with a training, and taken up again."""

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive, as plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        ...


class Scheduler(Stateful, Protocol):
    """A learning rate schedule. A class of another library that has no `interval` steps by epoch.

    One that steps by epoch and has a true `takes_metric` is given the monitored metric: `step(value)`.
    """

    interval: ClassVar[Literal["step", "epoch"]]

    def step(self) -> None:
        """Set the learning rate for the next step or epoch."""
        ...


class UpdateStep(Protocol):
    """What is done with the batches of one update."""

    def __call__(self, batches: Iterator[Batch], indices: range, num_samples: int) -> None:
        """Make an update of the next batches, those at `indices` in their epoch, of so many samples in all.

        Counts the update in the state's progress; does not wait for the device.
        """
        ...


class Logger(Protocol):
    """Where metrics go besides metrics.jsonl."""

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        """Begin with the run directory and the redacted config."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take metrics by full name."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the summary and close."""
        ...
