"""Tell a listener of each validation, after its checkpoint; there it may stop the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nnrun.base.listening import Listener, Validated
from nnrun.core.device import peak_memory
from nnrun.core.plan import Plan
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState

# What a row has besides its values.
_NO_VALUES = ("step", "epoch", "split")


class Telling(Callback):
    """Tell a listener of each validation. Comes after all others; has no state.

    `rows` returns the rows of metrics.jsonl. `poll` raises InterruptedRun if a stop was requested meanwhile: no step is
    taken after the one that was validated.
    """

    def __init__(
        self,
        tell: Listener,
        plan: Plan,
        num_batches: int,
        poll: Callable[[], None],
        rows: Callable[[], Iterable[Mapping[str, Any]]],
    ) -> None:
        self._tell = tell
        self._plan = plan
        self._num_batches = num_batches
        self._poll = poll
        self._rows = rows
        self._metrics: Mapping[str, float] = {}

    def on_fit_start(self, state: TrainState) -> None:
        """Tell again of the epoch that a resumed run ended last: after its checkpoint, a kill may have lost it."""
        at = state.progress
        if at.epoch > 0 and at.batch == 0 and at.validated_step == at.step:
            self._metrics = validated_at(at.step, self._rows())
            self.on_epoch_end(state)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Tell of a validation within an epoch; keep that of an epoch's end until the epoch is saved."""
        self._metrics = metrics
        if state.progress.is_within_epoch:
            self._say(state)

    def on_epoch_end(self, state: TrainState) -> None:
        """Tell of the validation at the end of the epoch."""
        if self._metrics:
            self._say(state)

    def _say(self, state: TrainState) -> None:
        at, metrics = state.progress, self._metrics
        self._metrics = {}
        is_last = self._plan.is_done(at)
        epoch = at.epoch + at.batch / self._num_batches
        self._tell(Validated(epoch, at.step, metrics, is_last, peak_memory(state.device)))
        if not is_last:
            self._poll()


def validated_at(step: int, rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the metrics of the last validation at a step by full name; empty if no row has it. NaN is null there."""
    found = [row for row in rows if row["split"] == "valid" and row["step"] == step]
    values = {name: value for name, value in found[-1].items() if name not in _NO_VALUES} if found else {}
    return {f"valid/{name}": math.nan if value is None else value for name, value in values.items()}
