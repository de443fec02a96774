"""The parts of a training besides its data and its problem: its step, its schedule, and where its metrics go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from nnrun.core.seams.batch import Batch


class Stateful(Protocol):
    """State that is saved with a training, and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save, as plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class Scheduler(Stateful, Protocol):
    """A learning rate schedule. A class of another library without an `interval` steps by epoch.

    One that steps by epoch and has a true `takes_metric` receives the monitored metric: `step(value)`.
    """

    interval: ClassVar[Literal["step", "epoch"]]

    def step(self) -> None:
        """Set the learning rate for the next step or epoch."""
        ...


class UpdateStep(Protocol):
    """Makes one update from its batches."""

    def __call__(self, batches: Iterator[Batch], indices: range, num_samples: int) -> None:
        """Make an update from the next batches, those at `indices` in their epoch, with `num_samples` in total.

        Counts the update in the state's progress; does not wait for the device.
        """
        ...


@dataclass(frozen=True)
class RunInfo:
    """What a logger learns about the run: its task and directory, its config without secrets, and where it starts.

    `step` is 0, or the step from which a run resumes: values of later steps will be sent again.
    """

    task: str
    directory: Path
    config: Mapping[str, Any]
    step: int


class Logger(Protocol):
    """Where metrics go besides metrics.jsonl. An error that it raises is reported once, and it is not called again.

    One that has `image` is an ImageLogger.
    """

    def start(self, run: RunInfo) -> None:
        """Start a run, or continue one that is resumed."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take values by full name, `valid/loss`. Training waits for this: do slow work in a thread."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close, however the run ended: take its task, state, exit_code and reason, and its results so far.

        The keys are those of summary.json. Called once for each logger that started.
        """
        ...


class ImageLogger(Logger, Protocol):
    """A logger that takes images too."""

    def image(self, step: int, name: str, image: Tensor) -> None:
        """Take an image by full name: uint8 `(C, H, W)` on the CPU, of 1 or 3 channels."""
        ...
