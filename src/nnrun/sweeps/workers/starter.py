"""The process that starts the jobs' processes, as seen by the sweep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nnrun.base.ending import at_the_end, forget
from nnrun.base.signals import in_force
from nnrun.sweeps.workers.messages import Channel

if TYPE_CHECKING:
    from nnrun.sweeps.seams import Order

# A process that was told to end, or has nothing left to do, is waited for this long.
_FAREWELL_SECONDS = 2.0
_PYTHON = (sys.executable, *subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]

# The number of the process that checks jobs, which is none of them.
_CHECK = -1

# A fork is safe on Linux alone: elsewhere, libraries of the system start threads of their own.
HOW = "forks" if sys.platform == "linux" else "spawns"

# The one that was started ahead, before anything of the sweep was known.
_AHEAD: list[Starter] = []


class Starter:
    """The process that starts jobs, and our end of its socket; it imports torch while this one goes on."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with in_force().held(), theirs:
            self._process = subprocess.Popen(
                [*_PYTHON, "-m", "nnrun.sweeps.workers.server", str(theirs.fileno()), HOW],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # numpy starts threads as it is imported; a job sets its own number.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )
        self.control = Channel(ours)
        self._modules: set[str] = set()
        self._undoing = at_the_end(self.kill)

    def preload(self, names: Iterable[str]) -> None:
        """Have modules imported for all jobs that start from now on."""
        new = set(names) - self._modules
        if new:
            self.control.send({"preload": sorted(new)})
            self._modules |= new

    def start(self, order: Order, theirs: socket.socket) -> None:
        """Start the process of a job, with an end of its socket; import first what it will use and no job did yet."""
        if order.composed is not None:
            self.preload(_modules_of(order.composed.resolved()))
        self.control.send({"start": order.number}, descriptors=[theirs.fileno()])

    def start_check(self, orders: Sequence[Order], theirs: socket.socket) -> None:
        """Start the process that checks jobs, with an end of its socket."""
        self.preload(set().union(*(_modules_of(it.composed.resolved()) for it in orders if it.composed is not None)))
        self.control.send({"start": _CHECK}, descriptors=[theirs.fileno()])

    def end_check(self) -> None:
        """End the process that checks jobs, if it has not ended."""
        self.control.send({"kill": _CHECK})

    def close(self, numbers: Sequence[int] = ()) -> None:
        """Kill the jobs with these numbers, and end the process."""
        for number in numbers:
            self.control.send({"kill": number})
        self.control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        forget(self._undoing)
        self.control.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def start_ahead(words: Sequence[str]) -> None:
    """Start the process as soon as a command begins that looks like a sweep side by side: its import takes a second."""
    is_other = any(word == "sweep.parallel=1" or word.startswith(("launch=", "sweep.stack=")) for word in words)
    if {"-m", "--multirun"} & set(words) and not is_other:
        _AHEAD.append(Starter())


def started_ahead() -> Starter | None:
    """Return the process that was started ahead, if there is one."""
    return _AHEAD.pop() if _AHEAD else None


def end_unused() -> None:
    """End the process that was started ahead: the jobs run elsewhere."""
    while _AHEAD:
        _AHEAD.pop().kill()


def _modules_of(node: Any) -> set[str]:
    """Return the modules of ours that a config names: what a user's own do when they are imported is not known."""
    if isinstance(node, Mapping):
        target = str(node.get("_target_", ""))
        own = {target.rpartition(".")[0]} if target.startswith("nnrun.") else set()
        return own.union(*map(_modules_of, node.values()))
    return set().union(*map(_modules_of, node)) if isinstance(node, list) else set()
