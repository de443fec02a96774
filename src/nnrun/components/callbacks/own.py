"""Call a callback of the group `callback`, and report its errors under its name in the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrun.base.errors import Complaint, ConfigError, did_you_mean
from nnrun.base.foreign_errors import calling
from nnrun.checkpoints.saveable import check_state
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState


class OwnCallback(Callback):
    """Call another callback, usually a custom one: say where it fails, and check the state that it saves.

    Raises ConfigError if a method looks like a hook but is not one.
    """

    def __init__(self, name: str, callback: Callback) -> None:
        self._key = f"callback.{name}"
        self.callback = callback
        hooks = [hook for hook in dir(Callback) if hook.startswith("on_")]
        for method in dir(type(callback)):
            if method.startswith("on_") and method not in hooks:
                hint = did_you_mean(method, hooks) or f"hooks are {', '.join(hooks)}"
                text = f"{self._key}: {type(callback).__name__}.{method} would never be called; {hint}"
                raise ConfigError(Complaint(self._key, text))

    def on_fit_start(self, state: TrainState) -> None:
        """Call the hook before the first step of this process."""
        with calling(self._key):
            self.callback.on_fit_start(state)

    def on_gradients_ready(self, state: TrainState) -> None:
        """Call the hook before an update."""
        with calling(self._key):
            self.callback.on_gradients_ready(state)

    def joins_update(self, state: TrainState) -> bool:
        """Ask the callback."""
        with calling(self._key):
            return bool(self.callback.joins_update(state))

    def on_step_end(self, state: TrainState) -> None:
        """Call the hook after an update."""
        with calling(self._key):
            self.callback.on_step_end(state)
        self._check_reason(state)

    def on_validation_end(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Call the hook after a validation."""
        with calling(self._key):
            self.callback.on_validation_end(state, metrics)
        self._check_reason(state)

    def on_epoch_end(self, state: TrainState) -> None:
        """Call the hook after an epoch."""
        with calling(self._key):
            self.callback.on_epoch_end(state)
        self._check_reason(state)

    def on_fit_end(self, state: TrainState) -> None:
        """Call the hook after the last epoch."""
        with calling(self._key):
            self.callback.on_fit_end(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the callback's state; raise ConfigError if a checkpoint cannot hold it."""
        with calling(self._key):
            state = self.callback.state_dict()
        check_state(state, f"{self._key}: its state_dict()")
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the callback's state."""
        with calling(self._key):
            self.callback.load_state_dict(state)

    def _check_reason(self, state: TrainState) -> None:
        """Raise ConfigError if the reason to stop, which is saved and shown, is not a text."""
        reason = state.progress.stop_reason
        if not isinstance(reason, str | None):
            text = f"{self._key}: progress.stop_reason is {reason!r}; allowed: a text with the reason, or None"
            raise ConfigError(Complaint(self._key, text))
