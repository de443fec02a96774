"""Signals that stop a run: finish the step, save, say how to resume. A second SIGINT ends the process at once.

SIGTERM, a closed terminal, and SLURM's warning signals (`sbatch --signal=USR1@120`) are handled in the same way.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any

from nnrun.base.errors import InterruptedRun
from nnrun.base.stopping import heard_signals

# How long a training that received a signal waits for data before it stops without it.
PATIENCE_SECONDS = 1.0
_SOON_SECONDS = 0.02


class StopRequest:
    """A received signal: it raises at once; inside `deferred`, at the next `poll`; inside `held`, later."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard_at = 0.0
        self._is_deferred = False
        self._is_held = False
        self._others: list[StopRequest] = []

    @property
    def heard(self) -> int | None:
        """The signal that was received, if any."""
        return self._number

    @property
    def is_deferred(self) -> bool:
        """Whether the operation in progress must not be interrupted."""
        return self._is_deferred

    def note(self, number: int) -> None:
        """Record that a signal came."""
        self._number = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        for other in self._others:
            other.note(number)

    def forget(self) -> None:
        """Forget what came: a job has stopped for it, and others go on."""
        self._number = None

    def poll(self) -> None:
        """Raise InterruptedRun if a signal came."""
        if self._number is not None:
            raise InterruptedRun(self._number)

    def poll_in_vain(self) -> None:
        """Raise InterruptedRun if a signal came some time ago. Called repeatedly by code that waits for others."""
        if time.monotonic() - self._heard_at > PATIENCE_SECONDS:
            self.poll()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Delay signals in the block until `poll`: a training step must not be interrupted."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    @contextmanager
    def passed_to(self, other: StopRequest) -> Iterator[None]:
        """Note in the block on another request too what comes: its thread runs, and this one waits for it."""
        self._others.append(other)
        try:
            yield
        finally:
            self._others.remove(other)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal, not even a second one, interrupt the block, which must be short; call `catch_up` after it."""
        before, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = before

    def catch_up(self) -> None:
        """Raise InterruptedRun if a signal came in a `held` block, unless signals are deferred."""
        if not self._is_deferred:
            self.poll()

    def receive_again(self) -> None:
        """Deliver the signal again soon: its exception was lost, since it was raised while an object was removed."""
        number, self._number = self._number, None
        if number is not None:
            main = threading.main_thread().ident
            assert main is not None, "it runs"
            threading.Timer(_SOON_SECONDS, signal.pthread_kill, (main, number)).start()

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal. The last checkpoint is intact whenever the second one comes: files appear by rename."""
        is_second = self._number is not None and number == signal.SIGINT
        if self._number is None:
            self._heard_at = time.monotonic()
        self.note(number)
        assert self._number is not None
        if not self._is_held and (is_second or not self._is_deferred):
            raise InterruptedRun(self._number, at_once=is_second)


_IN_FORCE: list[StopRequest] = []
# The request of a thread that runs while the main thread waits for it, and passes its signals on.
_LENT: ContextVar[StopRequest | None] = ContextVar("_LENT", default=None)


def in_force() -> StopRequest:
    """Return the request that receives signals now; if there is none, one that never receives any."""
    return _IN_FORCE[-1] if _IN_FORCE else StopRequest()


@contextmanager
def stop_request(wanted: Sequence[signal.Signals] | None = None) -> Iterator[StopRequest]:
    """Receive signals in the block: those in `wanted`, else all that stop a command and are not ignored.

    A block inside another, such as a job in a sweep, uses the request of the outer one. Outside the main thread, where
    no signals arrive, nothing is changed; the request is the one that is `lent`, if any.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _LENT.get() or StopRequest()
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


@contextmanager
def lent(request: StopRequest) -> Iterator[None]:
    """Let the runs of this thread, in the block, use a request that the main thread notes its signals on."""
    token = _LENT.set(request)
    try:
        yield
    finally:
        _LENT.reset(token)


def _not_raised(hook: Callable[[Any], object], lost: Any) -> None:
    """Deliver a signal again that came while Python removed an object, where an exception reaches no caller."""
    if isinstance(lost.exc_value, InterruptedRun):
        in_force().receive_again()
    else:
        hook(lost)
