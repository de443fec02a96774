"""Save the training: at its start, after every validation and every epoch, and every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nnrun.base.errors import DivergedError
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.payload import Payload
from nnrun.core.device import wait_for
from nnrun.core.nonfinite import are_finite
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState


class Checkpointing(Callback):
    """Save through a CheckpointFolder; the clock counts what it takes.

    `payload` gives what stands in a checkpoint besides the training's state; `sync` brings to the disk what the state
    speaks of, the rows of metrics. Saved first of all is the untrained state, so that a run can be resumed from
    whenever it was lost.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        every_steps: int | None,
        payload: Callable[[TrainState], Payload],
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        self._sync = sync
        self._folder = folder
        self._every_steps = every_steps
        self._payload = payload

    def on_fit_start(self, state: TrainState) -> None:
        """Save the start, unless the run goes on from a checkpoint."""
        if state.world.agree(self._folder.manifest.last is None):
            self.save(state, is_best=False)
            if state.world.is_first:
                self._folder.check_room()

    def on_step_end(self, state: TrainState) -> None:
        """Save where the steps say so."""
        at = state.progress
        if self._every_steps is not None and at.step % self._every_steps == 0:
            self.save(state, is_best=False)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Save after a validation within an epoch, as the best if it is; on_epoch_end saves the last of an epoch."""
        if state.progress.is_within_epoch:
            self.save(state, is_best=state.progress.is_best)

    def on_epoch_end(self, state: TrainState) -> None:
        """Save the epoch, as the best if it is."""
        self.save(state, is_best=state.progress.is_best)

    def save(self, state: TrainState, *, is_best: bool) -> None:
        """Write a checkpoint, unless the loss or a weight is NaN or infinite: the last good one stays the last."""
        wait_for(state.device)  # what the device has yet to do are steps, and no saving
        with state.clock.saving():
            state.watch.check()
            if state.world.agree(not are_finite(state.network.state_dict().values())):
                at = state.progress
                raise DivergedError(
                    f"the weights became NaN or infinite by step {at.step:,} (epoch {at.epoch + 1}), though the loss "
                    "was not; try a lower optimizer.lr, or trainer.grad_clip_norm=1.0"
                )
            payload = self._payload(state)  # in which all ranks have a part
            if state.world.is_first:
                self._sync()
                self._folder.save(payload, state.progress.step, is_best=is_best)
