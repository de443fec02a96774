"""One piece of work at a time beside the caller's own, in a thread; what it raises is raised to the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Do one thing at a time in a thread of its own, which ends with it.

    What the work raises, of whatever kind, is raised by the caller's next `check`, `wait` or `start`, once.
    """

    def __init__(self) -> None:
        # Set while nothing is under way. A thread's own `join` is not safe against a signal that raises meanwhile.
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._failure: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before it is done."""
        self.wait()
        self._is_idle.clear()
        try:
            threading.Thread(target=self._do, args=(work,), daemon=True).start()
        except RuntimeError:  # no more threads can be started
            self._is_idle.set()
            raise

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = error
        finally:
            self._is_idle.set()

    def check(self) -> None:
        """Raise what the work raised, if it has; return at once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing is under way, or for so long; raise what the work raised."""
        self._is_idle.wait(seconds)
        self.check()
