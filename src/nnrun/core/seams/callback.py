"""Callbacks: hooks beside the steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnrun.core.seams.training import Stateful
    from nnrun.core.state import TrainState


def states_of(callbacks: Mapping[str, Stateful]) -> dict[str, dict[str, Any]]:
    """Return the states of callbacks by their names."""
    return {name: callback.state_dict() for name, callback in callbacks.items()}


class Callback:
    """Hooks beside the steps; each does nothing by default. State is saved with the checkpoint and restored on resume.

    A validation may come within an epoch: then `state.progress.batch` is not 0. Each rank calls its own callbacks, and
    they must make the same decisions: from metrics, which are the same on each, or by `state.world.agree`.
    """

    def on_fit_start(self, state: TrainState) -> None:
        """Before the first step of this process."""

    def on_gradients_ready(self, state: TrainState) -> None:
        """After the backward pass and the clipping, before the update."""

    def joins_update(self, state: TrainState) -> bool:
        """Return whether the callback takes part in the coming update: that is then made step by step, not replayed.

        Where updates are replayed from a recording, `on_gradients_ready` is called for certain only in those updates.
        """
        return type(self).on_gradients_ready is not Callback.on_gradients_ready

    def on_step_end(self, state: TrainState) -> None:
        """After each update."""

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """After each validation, with its metrics by full name, `valid/loss`."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After each epoch, and after its validation, if there is one."""

    def on_fit_end(self, state: TrainState) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
