"""Show the training's progress: a line per epoch, and a live line within an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from nnrun.base.meter import Meter, clock
from nnrun.base.shown import metric_text
from nnrun.components.callbacks.metrics import MetricRows
from nnrun.core.device import peak_memory
from nnrun.core.plan import Plan
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.console import Console

# The order in which parts of a line are kept if there is little room: the epoch and the validation's score come first.
_FIRST, _SECOND, _THIRD, _FOURTH, _LAST = range(5)


class TrainingProgress(Callback):
    """Print the metrics of each epoch, and show the progress within it.

    Shows the newest values that were already read: nothing here waits for the device.
    """

    def __init__(self, console: Console, plan: Plan, samples_per_step: int, rows: MetricRows) -> None:
        self._console = console
        self._plan = plan
        self._samples_per_step = samples_per_step
        self._rows = rows
        self._start = (0.0, 0)
        self._work: Meter | None = None

    def on_fit_start(self, state: TrainState) -> None:
        """Start from the current step, which is not 0 after a resume."""
        self._start = (time.perf_counter(), state.progress.step)
        if state.world.is_first:
            self._work = Meter("training", self._plan.total_steps, "steps", describe=lambda: self._parts(state))
            self._console.display.begin(self._work)

    def on_step_end(self, state: TrainState) -> None:
        """Update the live line; the display limits how often it is drawn."""
        if self._work:
            self._console.display.moved()

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Print a line for a validation within an epoch; at an epoch's end, the epoch's line has it."""
        if state.progress.is_within_epoch:
            self._say(state)

    def on_epoch_end(self, state: TrainState) -> None:
        """Print a line with the means over all steps of the epoch."""
        self._say(state)

    def _say(self, state: TrainState) -> None:
        """Print the means over the epoch's steps so far, and the newest validation; only on the first rank."""
        if not state.world.is_first:
            return
        at = state.progress
        parts = [(_FIRST, f"epoch {at.epoch_number:>3}"), (_LAST, f"step {at.step:>6,}")]
        for name, value in (self._rows.epoch | self._rows.validated).items():
            if not math.isnan(value):
                parts.append((self._importance(name), f"{name} {metric_text(value)}"))
        if at.is_best:
            parts.append((_FIRST, "best"))
        self._console.say("", parts=parts)
        self._console.display.said()

    def _importance(self, name: str) -> int:
        """Return the importance of a metric: validation comes before training, other metrics before the loss."""
        is_loss = name.endswith("/loss")
        if name in self._rows.validated:
            return _SECOND if is_loss else _FIRST
        return _THIRD if is_loss else _FOURTH

    def close(self) -> None:
        """Remove the live line, however the training ended."""
        if self._work:
            self._console.display.end(self._work)
            self._work = None

    def _parts(self, state: TrainState) -> list[tuple[int, str]]:
        """Return the parts of the live line: epoch, step, training metrics, speed, memory and the time left."""
        at, newest = state.progress, self._rows.newest
        seconds = max(time.perf_counter() - self._start[0], 1e-9)
        steps_a_second = (at.step - self._start[1]) / seconds
        parts = [
            (_FIRST, f"epoch {at.epoch + 1}/{self._plan.epochs}"),
            (_SECOND, f"step {at.step:,}/{self._plan.total_steps:,}"),
        ]
        measured = {name.removeprefix("train/"): v for name, v in newest.items() if name.startswith("train/")}
        for name in (name for name in measured if name != "lr"):
            parts.append((_FIRST if name == "loss" else _LAST, f"{name} {measured[name]:.3f}"))
        parts.append((_THIRD, f"{steps_a_second * self._samples_per_step:,.0f} samples/s"))
        if memory := peak_memory(state.device):
            peak, total = memory
            parts.append((_FOURTH, f"{peak / 2**30:.1f}/{total / 2**30:.0f} GiB"))
        if steps_a_second:
            parts.append((_THIRD, f"{clock((self._plan.total_steps - at.step) / steps_a_second)} left"))
        return parts
