"""Show how the training goes: a progress bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from nnrun.base.shown import metric_text
from nnrun.components.callbacks.metrics import MetricRows
from nnrun.core.plan import Plan
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.console import Console

_REDRAW_SECONDS = 0.1
# A narrower terminal is shown fewer figures, and no bar, rather than the beginnings of all.
_WIDE = 100


class TrainingProgress(Callback):
    """Say each epoch's figures; with a bar, also where the training stands within it.

    The bar shows the newest figures that were read anyway: it never waits for the device.
    """

    def __init__(self, console: Console, plan: Plan, samples_per_step: int, rows: MetricRows, *, bar: bool) -> None:
        self._console = console
        self._plan = plan
        self._samples_per_step = samples_per_step
        self._rows = rows
        self._is_wide = console.rich.width >= _WIDE
        self._bar = self._make_bar() if bar else None
        self._drawn = 0.0
        self._start = (0.0, 0)

    def _make_bar(self) -> Progress:
        """Return a bar that is drawn when it is told to: a thread of its own would cost the training time."""
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,}/{task.total:,}  {task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
        ]
        if self._is_wide:
            columns.insert(1, BarColumn(bar_width=None))
        return Progress(
            *columns,
            console=self._console.rich,
            transient=True,
            auto_refresh=False,
            expand=self._is_wide,
        )

    def on_fit_start(self, state: TrainState) -> None:
        """Begin the bar where the training stands."""
        self._start = (time.perf_counter(), state.progress.step)
        if not state.world.is_first:
            self._bar = None
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(
                "training", total=self._plan.total_steps, completed=state.progress.step, figures=""
            )

    def on_step_end(self, state: TrainState) -> None:
        """Redraw the bar, ten times a second at most."""
        if not self._bar or time.perf_counter() - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = time.perf_counter()
        description = f"epoch {state.progress.epoch + 1}/{self._plan.epochs}"
        self._bar.update(
            self._task, completed=state.progress.step, description=description, figures=self._figures(state)
        )
        self._bar.refresh()

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Say the figures in a line; at an epoch's end, its own line has them."""
        if state.progress.is_within_epoch:
            self._say(state)

    def on_epoch_end(self, state: TrainState) -> None:
        """Say the epoch's figures in a line: those of all of its steps."""
        self._say(state)

    def _say(self, state: TrainState) -> None:
        """Say the means of the epoch's steps until now, and the newest validation; the first rank alone does."""
        if not state.world.is_first:
            return
        at = state.progress
        means = self._rows.epoch | self._rows.validated
        figures = "  ".join(f"{name} {metric_text(value)}" for name, value in means.items() if not math.isnan(value))
        mark = "  best" if at.is_best else ""
        self._console.say(f"epoch {at.epoch_number:>3}  step {at.step:>6,}  {figures}{mark}")

    def close(self) -> None:
        """Take the bar away, however the training ended."""
        if self._bar:
            self._bar.stop()

    def _figures(self, state: TrainState) -> str:
        """Return the loss, with room for it what else is measured of each step, and the speed, for the bar."""
        newest = self._rows.newest
        seconds = time.perf_counter() - self._start[0]
        speed = (state.progress.step - self._start[1]) * self._samples_per_step / max(seconds, 1e-9)
        measured = {name.removeprefix("train/"): v for name, v in newest.items() if name.startswith("train/")}
        names = [name for name in measured if name == "loss" or (self._is_wide and name != "lr")]
        figures = [f"{name} {measured[name]:.3f}" for name in names]
        return "  ".join([*figures, f"{speed:,.0f} samples/s"])
