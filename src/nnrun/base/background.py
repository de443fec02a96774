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
        given = [work]
        try:
            self._is_idle.clear()
            threading.Thread(target=self._do, args=(given,), daemon=True).start()
        except BaseException:  # no more threads can be started, or a signal came in their midst
            if _taken(given) is not None:
                self._is_idle.set()
            raise

    def _do(self, given: list[Callable[[], None]]) -> None:
        work = _taken(given)
        if work is None:
            return
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


def _taken(given: list[Callable[[], None]]) -> Callable[[], None] | None:
    """Take the work out of a list; None where the other thread has."""
    try:
        return given.pop()
    except IndexError:
        return None
