"""Save the training: at its start, after every epoch, and every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnrun.core.checkpoint import CheckpointFolder
from nnrun.core.seams import Callback
from nnrun.core.state import TrainState


class Checkpointing(Callback):
    """Save through a CheckpointFolder; the time that it takes is not the training's.

    `payload` gives what stands in a checkpoint besides the training's state. Saved first of all is the untrained
    state, so that a run can be resumed from whenever it was lost.
    """

    def __init__(
        self, folder: CheckpointFolder, every_steps: int | None, payload: Callable[[TrainState], dict[str, Any]]
    ) -> None:
        self._folder = folder
        self._every_steps = every_steps
        self._payload = payload

    def on_fit_start(self, state: TrainState) -> None:
        """Save the start, unless the run goes on from a checkpoint."""
        if self._folder.manifest.last is None:
            self.save(state, is_best=False)

    def on_step_end(self, state: TrainState) -> None:
        """Save where the steps say so."""
        at = state.progress
        if self._every_steps is not None and at.step % self._every_steps == 0:
            with state.clock.paused():
                self.save(state, is_best=False)

    def on_epoch_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Save the epoch, as the best if it is."""
        at = state.progress
        self.save(state, is_best=at.best is not None and at.best.step == at.step)

    def save(self, state: TrainState, *, is_best: bool) -> None:
        """Write a checkpoint, unless the loss is NaN: the last good one stays the last."""
        state.watch.check(state.progress.step, state.progress.epoch + 1)
        self._folder.save(self._payload(state), state.progress.step, is_best=is_best)
