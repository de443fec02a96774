"""Signals that stop a run: finish the step, save, say how to go on. A second SIGINT ends the process at once.

SIGTERM, a closed terminal, and the signals by which SLURM warns a job (`sbatch --signal=USR1@120`) are taken alike.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nnrun.errors import InterruptedRun


class StopRequest:
    """What a signal leaves behind: raised at once, or, inside `deferred`, at the next `poll`."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_deferred = False

    @property
    def heard(self) -> int | None:
        """The signal that came, if one did."""
        return self._number

    def poll(self) -> None:
        """Raise InterruptedRun if a signal came."""
        if self._number is not None:
            raise InterruptedRun(self._number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals wait for `poll` in the block, where the training must not be torn in a step."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal. The last checkpoint is whole whenever the second one comes: files appear by rename."""
        is_second = self._number is not None and number == signal.SIGINT
        self._number = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        if is_second or not self._is_deferred:
            raise InterruptedRun(self._number, at_once=is_second)


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Listen to the signals in the block; one that is ignored, as under nohup, stays so.

    Outside the main thread, where none arrive, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    earlier = {number: signal.signal(number, request.receive) for number in heard}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
