"""The parts of a training besides its data and its problem: its step, its schedule, and where its metrics go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Tree


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

    `step` is 0, or the step from which a run resumes: values of later steps will be sent again, and `rows` has those up
    to it, as `log` takes them. `id` is the same for a run that is resumed or sent again. `sweep` names the sweep that
    the run is a job of; None for a run of its own. `directory` is where a logger may write; `source` is where the run's
    files are, if that is elsewhere: a run that is sent later is left as it is.
    """

    task: str
    directory: Path
    config: Mapping[str, Any]
    step: int
    rows: Sequence[tuple[int, Mapping[str, float]]] = ()
    id: str = ""
    sweep: str | None = None
    source: Path | None = None


@dataclass(frozen=True)
class Histogram:
    """The distribution of a tensor's values: `counts` for equal parts of the range from `low` to `high`.

    `total` and `total_squares` are the sums of the values and of their squares.
    """

    low: float
    high: float
    counts: tuple[float, ...]
    total: float
    total_squares: float


class Logger(Protocol):
    """Where metrics go besides metrics.jsonl. An error that it raises is reported once, and it is not called again.

    It is called in a thread of its own, in which it may take its time. One whose `log` has not returned after 30
    seconds, or `start` after 60, is reported and left behind, as if it had failed; so is one whose `finish` takes
    longer than its attribute `finish_seconds`, or 30. It may have further methods: see ImageLogger, RowsLogger,
    HistogramLogger and GraphLogger; a method that is None counts as missing.
    """

    def start(self, run: RunInfo) -> None:
        """Start a run, or continue one that is resumed. Training waits for this."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take values by full name, `valid/loss`."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close, however the run ended: take its task, state, exit_code and reason, and its results so far.

        The keys are those of summary.json. Called once for each logger that started. The process waits for this.
        """
        ...


class ImageLogger(Logger, Protocol):
    """A logger that takes images too."""

    def image(self, step: int, name: str, image: Tensor) -> None:
        """Take an image by full name: uint8 `(C, H, W)` on the CPU, of 1 or 3 channels."""
        ...


class RowsLogger(Logger, Protocol):
    """A logger for which several rows at once are faster: it gets those of about a second together."""

    def log_rows(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Take rows, each as `log` does, in order; `log` is not called then."""
        ...


class HistogramLogger(Logger, Protocol):
    """A logger that takes the distributions of weights and gradients too, at the end of each epoch."""

    def histograms(self, step: int, values: Mapping[str, Histogram]) -> None:
        """Take histograms by full name: `weights/conv1.weight`, `gradients/conv1.weight`.

        While earlier ones wait, newer ones are skipped, and counted in a note at the end.
        """
        ...


class GraphLogger(Logger, Protocol):
    """A logger that takes the structure of the network too."""

    def graph(self, network: nn.Module, example: Tree) -> None:
        """Take a copy of the network, in eval mode, and an input for it, after `start`.

        Both are on torch's `meta` device: they have shapes, but no values.
        """
        ...
