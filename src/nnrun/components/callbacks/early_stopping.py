"""Select the best weights, and stop when they no longer improve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnrun.base.errors import ConfigError
from nnrun.core.progress import Best
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState


def improved(reference: float | None, value: float, min_delta: float, mode: str) -> bool:
    """Return whether a value is better than the reference by more than `min_delta`; NaN never is."""
    if math.isnan(value):
        return False
    if reference is None:
        return True
    return value < reference - min_delta if mode == "min" else value > reference + min_delta


class EarlyStopping(Callback):
    """Mark the best validation by a metric; with a patience, stop after that many validations without improvement.

    `counted` names the unit of the patience in the reason to stop: "epochs" if each has one validation. Any
    improvement selects new best weights; only an improvement of more than `min_delta` resets the patience. Without
    validation, the newest weights are the best.
    """

    def __init__(
        self, monitor: str, mode: str, patience: int | None, min_delta: float, counted: str = "epochs"
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.counted = counted
        self.reference: float | None = None
        self.num_bad = 0

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Compare the validation with the best one so far."""
        at = state.progress
        if self.monitor not in metrics:
            raise ConfigError.of("early_stopping.monitor", self.monitor, ", ".join(sorted(metrics)))
        value = metrics[self.monitor]
        if improved(at.best.value if at.best else None, value, 0.0, self.mode):
            at.best = Best(value, at.epoch_number, at.step)
        if improved(self.reference, value, self.min_delta, self.mode):
            self.reference, self.num_bad = value, 0
        else:
            self.num_bad += 1
        if self.patience is not None and self.num_bad >= self.patience:
            at.stop_reason = f"{self.monitor} has not improved for {self.num_bad} {self.counted}"

    def on_epoch_end(self, state: TrainState) -> None:
        """Select the newest weights as the best if there is no validation."""
        at = state.progress
        if at.validated_step != at.step:
            at.best = Best(0.0, at.epoch_number, at.step)

    def state_dict(self) -> dict[str, Any]:
        """Return the reference value and the number of validations without improvement."""
        return {"reference": self.reference, "bad_epochs": self.num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the reference value and the number of validations without improvement."""
        self.reference, self.num_bad = state["reference"], state["bad_epochs"]
