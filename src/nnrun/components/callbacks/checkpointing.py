"""Save the training: at its start, after every validation and every epoch, and every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from nnrun.base.background import Background
from nnrun.base.errors import DivergedError, InterruptedRun
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.host_copy import HostCopy
from nnrun.checkpoints.payload import Payload
from nnrun.core.device import wait_for
from nnrun.core.nonfinite import are_finite
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState

# A write that nobody waits for any more ends at its next call to the disk, unless the disk does not answer that.
_FAREWELL_SECONDS = 0.5


class Checkpointing(Callback):
    """Save through a CheckpointFolder: copy the state at once, and write it beside the training, one save at a time.

    The clock counts what the training waits for, and what is written meanwhile. A write that fails ends the training
    after the step under way, or at its end. Leaving the object's block waits for the write under way, but not after a
    second Ctrl-C: what was committed before is whole.

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
        self._host_copy = HostCopy()
        self._writing = Background()

    def __enter__(self) -> Checkpointing:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InterruptedRun) and error.at_once:
            self._give_up()
            return
        try:
            self._writing.wait()
        except InterruptedRun:
            self._give_up()
            raise
        except Exception:
            if error is None:  # else what came first is what is said
                raise

    def _give_up(self) -> None:
        """Let the write under way come to nothing."""
        self._folder.abandon()
        with suppress(Exception):
            self._writing.wait(_FAREWELL_SECONDS)

    def on_fit_start(self, state: TrainState) -> None:
        """Save the start, unless the run goes on from a checkpoint."""
        if state.world.agree(self._folder.manifest.last is None):
            self.save(state, is_best=False, then=self._folder.check_room)

    def on_step_end(self, state: TrainState) -> None:
        """Save where the steps say so."""
        self._writing.check()
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

    def on_fit_end(self, state: TrainState) -> None:
        """Wait for the last write: what comes next reads what it wrote."""
        self.finish(state)

    def finish(self, state: TrainState) -> None:
        """Wait for the write under way; raise what it raised."""
        with state.clock.saving():
            self._writing.wait()

    def save(self, state: TrainState, *, is_best: bool, then: Callable[[], None] = lambda: None) -> None:
        """Save a checkpoint, unless the loss or a weight is NaN or infinite: the last good one stays the last.

        It is written, and `then` called, in the background, once the save before is done.
        """
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
                self._writing.wait()
                copy, step = self._host_copy.take(payload), state.progress.step

                def write() -> None:
                    with state.clock.writing():
                        self._host_copy.wait()
                        self._sync()
                        self._folder.save(copy, step, is_best=is_best)
                        then()

                self._writing.start(write)
