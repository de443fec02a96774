"""Note how long the first step took to come, from the start of the process."""

from __future__ import annotations

from nnrun.core.device import wait_for
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.directory import RunDir
from nnrun.runs.environment import process_age_seconds


class FirstStep(Callback):
    """Keep the age of the process at the end of its first update for status.json: what a user waits for."""

    def __init__(self, out: RunDir) -> None:
        self._out: RunDir | None = out

    def on_step_end(self, state: TrainState) -> None:
        """Take the time once."""
        if self._out is not None:
            wait_for(state.device)  # the host has only ordered the step
            self._out.remember(first_step_seconds=process_age_seconds())
            self._out = None
