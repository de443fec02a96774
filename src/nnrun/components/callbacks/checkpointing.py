"""Save checkpoints: at the start, after every validation and epoch, and every `checkpoint_every_steps` steps."""

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

# An abandoned write ends at its next call to the disk; do not wait longer than this if the disk does not respond.
_FAREWELL_SECONDS = 0.5


class Checkpointing(Callback):
    """Save through a CheckpointFolder: copy the state at once, then write it in the background, one save at a time.

    The clock counts separately how long the training waits and how long the writing takes. A failed write ends the
    training after the current step, or at its end. Leaving the `with` block waits for the current write, except after
    a second Ctrl-C; checkpoints committed before that are complete.

    `payload` returns the content of a checkpoint for a state; `sync` flushes to the disk the rows of metrics that the
    state counts. The untrained state is saved first, so that a run can be resumed whenever it fails.
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
            if error is None:  # otherwise report the first error
                raise

    def _give_up(self) -> None:
        """Abandon the current write."""
        self._folder.abandon()
        with suppress(Exception):
            self._writing.wait(_FAREWELL_SECONDS)

    def on_fit_start(self, state: TrainState) -> None:
        """Save the untrained state, unless the run resumes from a checkpoint."""
        if not state.world.agree(self._folder.manifest.last is not None):
            self.save(state, is_best=False, then=self._folder.check_room)

    def on_step_end(self, state: TrainState) -> None:
        """Save if a checkpoint is due at this step."""
        self._writing.check()
        at = state.progress
        if self._every_steps is not None and at.step % self._every_steps == 0:
            self.save(state, is_best=False)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Save after a validation within an epoch, as the best if it is; on_epoch_end saves after the epoch's last."""
        if state.progress.is_within_epoch:
            self.save(state, is_best=state.progress.is_best)

    def on_epoch_end(self, state: TrainState) -> None:
        """Save the epoch, as the best if it is."""
        self.save(state, is_best=state.progress.is_best)

    def on_fit_end(self, state: TrainState) -> None:
        """Wait for the last write, because the evaluation reads it."""
        self.finish(state)

    @property
    def is_writing(self) -> bool:
        """Whether a write goes on."""
        return self._writing.is_busy

    def finish(self, state: TrainState) -> None:
        """Wait for the current write; raise its error, if any."""
        with state.clock.saving():
            self._writing.wait()

    def save(self, state: TrainState, *, is_best: bool, then: Callable[[], None] = lambda: None) -> None:
        """Save a checkpoint, in the background, after the previous save is done; then call `then`.

        Raises DivergedError if the loss or a weight is NaN or infinite; the last good checkpoint is kept.
        """
        wait_for(state.device)  # queued steps must not count as time for saving
        with state.clock.saving():
            state.watch.check()
            if state.world.agree(not are_finite(state.world.held(state.network).values())):
                at = state.progress
                raise DivergedError(
                    f"the weights became NaN or infinite by step {at.step:,} (epoch {at.epoch + 1}), although the loss "
                    "stayed finite; try a lower optimizer.lr, or trainer.grad_clip_norm=1.0"
                )
            payload = self._payload(state)  # collective: all ranks take part
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
