"""Run one piece of work at a time in a background thread; its exceptions reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Run one piece of work at a time, each in its own thread.

    An exception of the work, of any kind, is raised once: by the caller's next `check`, `wait` or `start`.
    """

    def __init__(self) -> None:
        # Set while idle. `Thread.join` is not safe if a signal handler raises during it.
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._failure: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a piece of work goes on."""
        return not self._is_idle.is_set()

    def start(self, work: Callable[[], None]) -> None:
        """Start a piece of work, after the previous one is done."""
        self.wait()
        given = [work]
        try:
            self._is_idle.clear()
            threading.Thread(target=self._do, args=(given,), daemon=True).start()
        except BaseException:  # no thread can be started, or a signal handler raised
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
        """Raise the exception of the work, if there is one; return at once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the work is done, or for `seconds`; raise its exception, if there is one."""
        self._is_idle.wait(seconds)
        self.check()


def _taken(given: list[Callable[[], None]]) -> Callable[[], None] | None:
    """Pop the work from a list; return None if the other thread already has."""
    try:
        return given.pop()
    except IndexError:
        return None
