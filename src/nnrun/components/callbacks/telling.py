"""Tell a listener of each validation, after its checkpoint; there it may stop the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nnrun.base.listening import Listener, Validated
from nnrun.core.device import peak_memory
from nnrun.core.plan import Plan
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState


class Telling(Callback):
    """Tell a listener of each validation. Comes after all others; has no state.

    `poll` raises InterruptedRun if a stop was requested meanwhile: no step is taken after the one that was validated.
    """

    def __init__(self, tell: Listener, plan: Plan, num_batches: int, poll: Callable[[], None]) -> None:
        self._tell = tell
        self._plan = plan
        self._num_batches = num_batches
        self._poll = poll
        self._metrics: Mapping[str, float] = {}

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
