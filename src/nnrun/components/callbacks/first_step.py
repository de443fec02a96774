"""Record the time from the start of the process to the end of the first step."""

from __future__ import annotations

import os
from pathlib import Path

from nnrun.base.ranks import this_rank
from nnrun.core.device import wait_for
from nnrun.core.seams.callback import Callback
from nnrun.core.state import TrainState
from nnrun.runs.directory import RunDir


class FirstStep(Callback):
    """Save the age of the process at the end of its first update to status.json: how long a user waits for it."""

    def __init__(self, out: RunDir) -> None:
        self._out: RunDir | None = out

    def on_step_end(self, state: TrainState) -> None:
        """Record the time once."""
        if self._out is not None:
            wait_for(state.device)  # the step is only queued until here
            self._out.remember(first_step_seconds=_process_age_seconds())
            self._out = None


def _process_age_seconds() -> float | None:
    """Return the age of this process, or of the one that started it as a rank; None if the system does not tell."""
    try:
        process = this_rank().launcher or "self"
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return uptime - ticks / os.sysconf("SC_CLK_TCK")
