"""The process that starts the jobs' processes, as seen by the sweep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nnrun.base.signals import in_force
from nnrun.sweeps.seams import Order
from nnrun.sweeps.workers.messages import Channel

# A process that was told to end, or has nothing left to do, is waited for this long.
_FAREWELL_SECONDS = 2.0
_PYTHON = (sys.executable, *subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


class Starter:
    """The process that starts jobs, and our end of its socket; it imports torch while this one goes on."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        how = "forks" if sys.platform == "linux" else "spawns"
        with in_force().held(), theirs:
            self._process = subprocess.Popen(
                [*_PYTHON, "-m", "nnrun.sweeps.workers.server", str(theirs.fileno()), how],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # numpy starts threads as it is imported; a job sets its own number.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )
        self.control = Channel(ours)
        self._modules: set[str] = set()

    def start(self, order: Order, theirs: socket.socket) -> None:
        """Start the process of a job, with an end of its socket; import first what it will use and no job did yet."""
        if order.composed is not None:
            new = _modules_of(order.composed.resolved()) - self._modules
            if new:
                self.control.send({"preload": sorted(new)})
                self._modules |= new
        self.control.send({"start": order.number}, descriptors=[theirs.fileno()])

    def close(self, numbers: Sequence[int]) -> None:
        """Kill the jobs with these numbers, and end the process."""
        for number in numbers:
            self.control.send({"kill": number})
        self.control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _modules_of(node: Any) -> set[str]:
    """Return the modules of ours that a config names: what a user's own do when they are imported is not known."""
    if isinstance(node, Mapping):
        target = str(node.get("_target_", ""))
        own = {target.rpartition(".")[0]} if target.startswith("nnrun.") else set()
        return own.union(*map(_modules_of, node.values()))
    return set().union(*map(_modules_of, node)) if isinstance(node, list) else set()
