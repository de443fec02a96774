"""What a sweep shows while its jobs run: a heading for each, or, side by side, a live table or a line for each end."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from nnrun.base.meter import clock
from nnrun.base.shown import fitting, metric_text
from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.live import LiveLine
from nnrun.runs.sheet import Sheet, unfilled
from nnrun.sweeps.ranking import choose_ranking
from nnrun.sweeps.seams import JobState, Progress
from nnrun.sweeps.table import JobResult, ranked


class Board(Protocol):
    """Shows the jobs of a sweep."""

    def started(self, row: JobResult, composed: Composed | None) -> None:
        """Show that a job starts."""

    def progressed(self, row: JobResult, progress: Progress) -> None:
        """Show a validation of a job."""

    def ended(self, row: JobResult) -> None:
        """Show that a job has ended, or was stopped."""

    def tick(self) -> None:
        """Show that time passes."""

    def shown(self, progress: str | bool) -> AbstractContextManager[None]:
        """Show the jobs during the block; `progress` is `trainer.progress`."""


@dataclass
class Headings:
    """A heading above the output of each job: they run one after another, in this process."""

    console: Console
    # How many jobs there will be, if that is known.
    num_jobs: Callable[[], int | None]

    def started(self, row: JobResult, composed: Composed | None) -> None:
        """Print the heading of a job."""
        self.console.say("")
        self.console.say(f"job {row.number + 1}{_of_all(self.num_jobs())}: {_settings(row)}")

    def progressed(self, row: JobResult, progress: Progress) -> None:
        """Show nothing: the job shows its own progress."""

    def ended(self, row: JobResult) -> None:
        """Show nothing: the job has shown its result."""

    def tick(self) -> None:
        """Show nothing."""

    def shown(self, progress: str | bool) -> AbstractContextManager[None]:
        """Show nothing."""
        return nullcontext()


@dataclass
class _Run:
    """A job that runs: since when, its number of epochs if it is known, and its last validation."""

    row: JobResult
    started: float
    epochs: float | None
    last: Progress | None = None

    @property
    def seconds_left(self) -> float:
        """The time that the rest of its epochs takes; NaN if it cannot be told yet."""
        if self.last is None or not self.epochs or self.last.epoch <= 0:
            return math.nan
        return max(0.0, (time.monotonic() - self.started) * (self.epochs / self.last.epoch - 1))

    @property
    def epoch_text(self) -> str:
        """How far it is."""
        if self.last is None:
            return "starting"
        if self.epochs is None:
            return f"step {self.last.step:,}"
        return "finishing" if self.last.epoch >= self.epochs else f"epoch {self.last.epoch:g} of {self.epochs:g}"


@dataclass
class SideBySide:
    """The running jobs in a live table at the end of the terminal; without one, a line for each job that has ended."""

    console: Console
    num_jobs: Callable[[], int | None]
    rows: Sequence[JobResult]
    num_slots: Callable[[], int]
    live: LiveLine | None = None
    _running: dict[int, _Run] = field(default_factory=dict)

    def started(self, row: JobResult, composed: Composed | None) -> None:
        """Add a job."""
        trainer = composed.resolved().get("trainer", {}) if composed is not None else {}
        limits = trainer.get("max_steps"), trainer.get("max_minutes")
        epochs = trainer.get("epochs") if limits == (None, None) else None
        self._running[row.number] = _Run(row, time.monotonic(), epochs)
        self.tick()

    def progressed(self, row: JobResult, progress: Progress) -> None:
        """Show the newest value of a job."""
        if row.number in self._running:
            self._running[row.number].last = progress
            self.tick()

    def ended(self, row: JobResult) -> None:
        """Remove a job; without a live table, print its result. A failure has been printed already."""
        self._running.pop(row.number, None)
        if self.live is None and row.state != JobState.FAILED:
            self.console.say(fitting(list(enumerate(self._result(row))), None))
        self.tick()

    def tick(self) -> None:
        """Draw the live table anew."""
        if self.live is None:
            return
        if not self._running:
            self.live.clear()
            return
        table = Sheet(box=None, pad_edge=False, show_header=False)
        for importance in (0, 2, 3, 1, 5, 4):
            table.add_column(importance=importance, least_width=24 if importance == 2 else None, no_wrap=True)
        for number in sorted(self._running):
            table.add_row(*self._cells(self._running[number]))
        fitted, _ = table.fitted(self.live.width)
        lines = unfilled(self.console.rich, fitted).splitlines()
        self.live.draw(fitting(list(enumerate(self._summary())), self.live.width), *lines)

    @contextmanager
    def shown(self, progress: str | bool) -> Iterator[None]:
        """Show the live table during the block, where a terminal can draw it; other output appears above it."""
        with self.console.below_all(progress) as self.live:
            yield
        self.live = None

    def _cells(self, run: _Run) -> list[str]:
        """Return the cells of a running job: its number, settings, progress, newest value, time, time left."""
        row, left = run.row, run.seconds_left
        value = _newest(row, run.last)
        rest = "" if math.isnan(left) or run.epoch_text == "finishing" else f"up to {clock(left)} left"
        return [f"job {row.number}", _settings(row), run.epoch_text, value, clock(time.monotonic() - run.started), rest]

    def _summary(self) -> list[str]:
        """Return what is known of the whole sweep, the most important first."""
        ended = [row for row in self.rows if row.has_ended]
        failed = sum(row.state == JobState.FAILED for row in ended)
        num_jobs = self.num_jobs()
        texts = [f"{len(ended)}{_of_all(num_jobs)} jobs done"]
        if failed:
            texts.append(f"{failed} failed")
        if best := self._best():
            texts.append(best)
        if num_jobs and len(ended) > failed:
            seconds = statistics.median(row.seconds for row in ended if row.state != JobState.FAILED)
            texts.append(f"about {clock((num_jobs - len(ended)) * seconds / self.num_slots())} left")
        return texts

    def _best(self) -> str | None:
        """Return the best job so far, with its value; None if they cannot be compared."""
        done = [row for row in self.rows if row.state == JobState.FINISHED]
        metric = choose_ranking(done).metric
        if metric is None:
            return None
        best = ranked(done)[0]
        value = best.monitored if metric == best.monitor else best.metrics.get(metric)
        return None if value is None else f"best: job {best.number}, {metric} {metric_text(value)}"

    def _result(self, row: JobResult) -> list[str]:
        """Return the texts of a line about a job that has ended."""
        value = f"{row.monitor} {metric_text(row.monitored)}" if row.monitored is not None else ""
        state = "" if row.state == JobState.FINISHED else str(row.state)
        line = ", ".join(text for text in (state, value, f"{row.seconds:.1f} s") if text)
        ended = sum(other.has_ended for other in self.rows)
        return [f"job {row.number} ({_settings(row)}): {line}", f"[{ended}{_of_all(self.num_jobs())} done]"]


def _newest(row: JobResult, last: Progress | None) -> str:
    """Return the newest value of the monitored metric, or of the loss."""
    if last is None or not last.metrics:
        return ""
    name = row.monitor if row.monitor in last.metrics else next(iter(last.metrics))
    return f"{name} {metric_text(last.metrics[str(name)])}"


def _settings(row: JobResult) -> str:
    """Return the swept settings of a job as typed."""
    return " ".join(f"{key}={value}" for key, value in row.overrides.items())


def _of_all(num_jobs: int | None) -> str:
    """Return of how many jobs one is, if that is known."""
    return "" if num_jobs is None else f" of {num_jobs:,}"
