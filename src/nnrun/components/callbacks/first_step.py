"""Note how long the first step took to come, from the start of the process."""

from __future__ import annotations

import os
from pathlib import Path

from nnrun.core.device import wait_for
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.directory import RunDir


class FirstStep(Callback):
    """Keep the age of the process at the end of its first update for status.json: what a user waits for."""

    def __init__(self, out: RunDir) -> None:
        self._out: RunDir | None = out

    def on_step_end(self, state: TrainState) -> None:
        """Take the time once."""
        if self._out is not None:
            wait_for(state.device)  # the host has only ordered the step
            self._out.remember(first_step_seconds=_process_age_seconds())
            self._out = None


def _process_age_seconds() -> float | None:
    """Return how long ago this process was created, where the operating system tells."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return uptime - ticks / os.sysconf("SC_CLK_TCK")
