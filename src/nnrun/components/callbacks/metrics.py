"""Write the rows of metrics.jsonl, and pass the same numbers to the loggers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from nnrun.components.callbacks.loggers import Loggers
from nnrun.core.objective import Objective
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState

# The split of the rows of trainer.watch.
WATCH = "watch"
# The splits whose rows nnrun writes, and the keys of a row besides its values.
_OUR_NAMES = ("train", "valid", "test", "step", "epoch", "split")


class RowFile(Protocol):
    """The file that rows are written to."""

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        ...

    def cut_rows(self, num_rows: int) -> None:
        """Keep only the first rows."""
        ...


class MetricRows(Callback):
    """Add a training row every `every_steps` steps, and a row for each validation. Rows contain no times.

    The number of rows is part of the training state: a resumed run drops the rows written after its checkpoint, so
    that no row is duplicated or missing. `told` receives each row that is written.
    """

    def __init__(
        self,
        rows: RowFile,
        objective: Objective,
        every_steps: int,
        loggers: Loggers,
        told: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ) -> None:
        self._rows = rows
        self._told = told
        self._metric = objective.train_metric
        self._problem = objective.problem
        self._every_steps = every_steps
        self._loggers = loggers
        self.newest: dict[str, float] = {}
        # Training means over the epoch, up to its newest validation or its end; NaN if unknown.
        self.epoch: dict[str, float] = {}
        # The newest validation's metrics for the epoch's line: loss, main metric, and the metrics that a config adds.
        self.validated: dict[str, float] = {}

    def on_fit_start(self, state: TrainState) -> None:
        """Drop the rows written after the checkpoint; accept rows of other callbacks through `state.log`."""
        if state.world.is_first:
            self._rows.cut_rows(state.progress.num_rows)
        state.log = partial(self._add_of_others, state)

    def on_step_end(self, state: TrainState) -> None:
        """Add a training row if it is due. Waits for the device."""
        if state.progress.step % self._every_steps == 0:
            self._add_training_row(state)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Add a row for the training up to now, and one for the validation."""
        self._add_training_row(state)
        self._average(state)
        self._add(state, "valid", {name.removeprefix("valid/"): value for name, value in metrics.items()})
        own = {f"valid/{name}" for name in self._problem.eval_metric.higher_is_better}
        names = ["valid/loss", f"valid/{self._problem.headline}", *(name for name in metrics if name not in own)]
        self.validated = {name: metrics[name] for name in names if name in metrics}

    def on_epoch_end(self, state: TrainState) -> None:
        """Add a row for the rest of the epoch's training."""
        self._add_training_row(state)
        self._average(state)
        for total in state.epoch_sums.values():
            total.zero_()

    def _average(self, state: TrainState) -> None:
        """Compute the training means over the epoch so far; all of its steps must be in rows already."""
        self.epoch = {
            f"train/{name}": value for name, value in self._metric.compute(state.world.total(state.epoch_sums)).items()
        }

    def _add_training_row(self, state: TrainState) -> None:
        """Add a row from the training sums and reset them; the epoch's sums keep accumulating."""
        if state.progress.logged_step == state.progress.step:
            return
        values = self._metric.compute(state.world.total(state.sums))
        for name, total in state.sums.items():
            state.epoch_sums[name].add_(total)
            total.zero_()
        state.progress.logged_step = state.progress.step
        values["lr"] = float(state.optimizer.param_groups[0]["lr"])
        norm = math.nan if state.grad_norm is None else float(state.grad_norm)
        # Infinite if scaled fp16 gradients overflow; that update is skipped.
        self._add(state, "train", values | ({"grad_norm": norm} if math.isfinite(norm) else {}))

    def _add_of_others(self, state: TrainState, split: str, values: Mapping[str, float]) -> None:
        """Add a row of another callback; raise ValueError if it has a name that nnrun's own rows use."""
        for name in (split, *values):
            if name in _OUR_NAMES:
                raise ValueError(f"state.log: {name!r} is reserved in metrics.jsonl; choose another name")
        self._add(state, split, {name: float(value) for name, value in values.items()})

    def _add(self, state: TrainState, split: str, values: dict[str, float]) -> None:
        """Add one row, and count it; only the first rank writes it and calls the loggers."""
        at = state.progress
        named = {f"{split}/{name}": value for name, value in values.items()}
        if split != WATCH:  # hundreds of values, which are no result
            self.newest |= named
        row = {"step": at.step, "epoch": at.epoch_number, "split": split, **values}
        self._told(row)
        if state.world.is_first:
            self._rows.add_row(row)
            self._loggers.log(at.step, named)
        at.num_rows += 1
