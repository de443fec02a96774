"""A function in a thread of its own that runs only while its caller waits for it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Fiber(Generic[Value]):
    """Run a function up to a `pause` in it, and later on from there: only one of the two threads runs at a time.

    So a run can stay as it is, from its config to its summary, and yet wait in its midst for others.
    """

    def __init__(self, work: Callable[[Fiber[Value]], None]) -> None:
        self._work = work
        # What it paused with; None before the first pause and once it has ended.
        self.paused_with: Value | None = None
        self.has_ended = False
        self._error: BaseException | None = None
        # Raw locks: a signal handler that raises while one is waited for leaves it intact.
        self._turn, self._back = _closed(), _closed()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), daemon=True)

    def resume(self, error: BaseException | None = None) -> None:
        """Run the function until it pauses or ends; raise `error`, if there is one, where it paused."""
        self._error = error
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()

    def pause(self, value: Value) -> None:
        """Give the turn back to the caller of `resume`, with a value; called by the function."""
        self.paused_with = value
        self._back.release()
        self._turn.acquire()
        self.paused_with = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work(self)
        finally:
            self.paused_with, self.has_ended = None, True
            self._back.release()


def _closed() -> threading.Lock:
    """Return a lock that is held: acquiring it waits for a release, by whichever thread."""
    lock = threading.Lock()
    lock.acquire()
    return lock
