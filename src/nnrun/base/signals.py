"""Signals that stop a run: finish the step, save, say how to go on. A second SIGINT ends the process at once.

SIGTERM, a closed terminal, and the signals by which SLURM warns a job (`sbatch --signal=USR1@120`) are taken alike.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from nnrun.base.errors import InterruptedRun
from nnrun.base.stopping import heard_signals

# How long a training that heard a signal waits for data before it stops without it.
PATIENCE_SECONDS = 1.0
_SOON_SECONDS = 0.02


class StopRequest:
    """What a signal leaves behind: raised at once, or, inside `deferred`, at the next `poll`; inside `held`, later."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard_at = 0.0
        self._is_deferred = False
        self._is_held = False

    @property
    def heard(self) -> int | None:
        """The signal that came, if one did."""
        return self._number

    @property
    def is_deferred(self) -> bool:
        """Whether what is under way must not be torn."""
        return self._is_deferred

    def note(self, number: int) -> None:
        """Remember that a signal came."""
        self._number = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM

    def poll(self) -> None:
        """Raise InterruptedRun if a signal came."""
        if self._number is not None:
            raise InterruptedRun(self._number)

    def poll_in_vain(self) -> None:
        """Raise InterruptedRun if a signal came some time ago: whoever waits for others asks, again and again."""
        if time.monotonic() - self._heard_at > PATIENCE_SECONDS:
            self.poll()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals wait for `poll` in the block, where the training must not be torn in a step."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal, not even a second one, tear the block, which must be short; `catch_up` behind it."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def catch_up(self) -> None:
        """Raise InterruptedRun if a signal came that `held` kept back and `deferred` does not."""
        if not self._is_deferred:
            self.poll()

    def receive_again(self) -> None:
        """Take the signal that came anew, soon: what it raised was lost, since it came while an object was removed."""
        number, self._number = self._number, None
        if number is not None:
            main = threading.main_thread().ident
            assert main is not None, "it runs"
            threading.Timer(_SOON_SECONDS, signal.pthread_kill, (main, number)).start()

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal. The last checkpoint is whole whenever the second one comes: files appear by rename."""
        is_second = self._number is not None and number == signal.SIGINT
        if self._number is None:
            self._heard_at = time.monotonic()
        self.note(number)
        assert self._number is not None
        if not self._is_held and (is_second or not self._is_deferred):
            raise InterruptedRun(self._number, at_once=is_second)


_IN_FORCE: list[StopRequest] = []


def in_force() -> StopRequest:
    """Return what listens to signals now; where nobody does, one that never hears any."""
    return _IN_FORCE[-1] if _IN_FORCE else StopRequest()


@contextmanager
def stop_request(wanted: Sequence[signal.Signals] | None = None) -> Iterator[StopRequest]:
    """Listen to signals in the block: to those wanted, else to all that stop a command and are not ignored.

    In a block that listens already, as that of a sweep does for its jobs, it is that one who goes on to. Outside the
    main thread, where no signals arrive, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    if _IN_FORCE:
        yield _IN_FORCE[-1]
        return
    request = StopRequest()
    numbers = heard_signals() if wanted is None else wanted
    earlier, hook = {number: signal.getsignal(number) for number in numbers}, sys.unraisablehook
    _IN_FORCE.append(request)
    try:
        sys.unraisablehook = partial(_not_raised, hook)
        for number in earlier:
            signal.signal(number, request.receive)
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _IN_FORCE.remove(request)


def _not_raised(hook: Callable[[Any], object], lost: Any) -> None:
    """Have a signal heard that came while Python removed an object, where nothing that is raised reaches anybody."""
    if isinstance(lost.exc_value, InterruptedRun):
        in_force().receive_again()
    else:
        hook(lost)
