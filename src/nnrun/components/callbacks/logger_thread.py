"""Call a logger in a thread of its own, so that it neither delays the training nor keeps the process from ending."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from nnrun.core.seams.training import Logger

# How long a call may take, the start, which imports a library, and the end; one with `finish_seconds` says that itself.
CALL_SECONDS, START_SECONDS, FINISH_SECONDS = 30.0, 60.0, 30.0
# A wait that takes longer is said: most loggers start and finish sooner.
_SILENT_SECONDS = 3.0
# Maximum number of calls that wait, and of those among them that are large, such as histograms.
MOST_WAITING, MOST_LARGE = 10_000, 2
# Rows that arrive within this time are passed on together to a logger that takes several at once, up to so many.
_GATHER_SECONDS, _MOST_GATHERED = 1.0, 1000
# While it waits, the main thread looks this often at first, then less often.
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.001, 0.05

_Call = tuple[str, tuple[Any, ...], bool]


class LoggerThread:
    """Pass calls to a logger in order, in a thread that the process does not wait for.

    Only the main thread calls the methods. It uses no lock: a signal handler may raise anywhere in it. `error` is what
    the logger raised, after which it is not called again; `num_skipped` counts the large calls that found it too slow.
    `has_started` says whether its first call, `start`, has returned.
    """

    def __init__(self, logger: Logger) -> None:
        self.error: BaseException | None = None
        self.num_skipped = 0
        self.has_started = False
        self.finish_seconds = float(getattr(logger, "finish_seconds", FINISH_SECONDS))
        self._logger = logger
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._num_put = self._num_done = self._large_put = self._large_done = 0
        self._current: tuple[str, float] | None = None
        self._interrupts: list[KeyboardInterrupt] = []
        self._is_left = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name=type(logger).__name__)
        self._thread.start()

    def takes(self, method: str) -> bool:
        """Return whether the logger has an optional method."""
        return callable(getattr(self._logger, method, None))

    @property
    def called(self) -> str | None:
        """The method that is being called."""
        current = self._current
        return None if current is None else current[0]

    def _hangs(self) -> bool:
        """Return whether a call that is not the first or the last has not returned for long."""
        current = self._current
        if current is None or current[0] in ("start", "finish"):
            return False
        return time.monotonic() - current[1] > CALL_SECONDS

    def call(self, method: str, *given: Any, is_large: bool = False) -> None:
        """Call a method of the logger later, after the calls before; skip a large call while others wait."""
        if is_large and self._large_put - self._large_done >= MOST_LARGE:
            self.num_skipped += 1
            return
        self._num_put += 1
        self._large_put += is_large
        self._calls.put((method, given, is_large))

    def is_done(self, num_left: int = 0) -> bool:
        """Return whether there is nothing to wait for: all calls but `num_left` have returned, or one has failed."""
        return self.error is not None or self._num_put - self._num_done <= num_left

    def check(self) -> None:
        """Raise the KeyboardInterrupt that the logger raised, if it did: it stops the run; the logger stays."""
        if self._interrupts:
            raise self._interrupts.pop()

    def fault(self) -> str | None:
        """Return in words why the logger cannot be waited for any longer, if so."""
        if self._hangs():
            return f"{self.called} has not returned for {CALL_SECONDS:.0f} s"
        if self._num_put - self._num_done > MOST_WAITING:
            return f"it cannot keep up: {MOST_WAITING:,} calls are waiting"
        return None

    def wait(self, seconds: float, long: Callable[[], object] = lambda: None, num_left: int = 0) -> bool:
        """Wait until the calls are done, and return True; False after `seconds`. Call `long` once, after a few."""
        start, pause, is_told = time.monotonic(), _FIRST_LOOK_SECONDS, False
        while not self.is_done(num_left):
            waited = time.monotonic() - start
            if waited > seconds or self._hangs():
                return False
            if waited > _SILENT_SECONDS and not is_told:
                long()
                is_told = True
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)
        return True

    def leave(self) -> None:
        """Make no further call: neither those that wait, nor later ones."""
        self._is_left = True
        self._calls.put(None)

    def _serve(self) -> None:
        """Make the calls, until one fails or the logger is left."""
        waiting: _Call | None = None
        gathers = self.takes("log_rows")
        while (call := waiting or self._calls.get()) is not None and not self._is_left:
            waiting, count, large = None, 1, int(call[2])
            method, given = call[:2]
            if gathers and method == "log":
                rows, waiting = self._gather(given)
                method, given, count = "log_rows", (rows,), len(rows)
            self._current = method, time.monotonic()
            try:
                getattr(self._logger, method)(*given)
                self.has_started = True
            except KeyboardInterrupt as error:
                self._interrupts.append(error)
            except BaseException as error:  # SystemExit too: a logger does not end the run
                self.error = error
                return
            finally:
                self._current = None
            self._num_done += count
            self._large_done += large

    def _gather(self, first: tuple[Any, ...]) -> tuple[list[tuple[int, Mapping[str, float]]], _Call | None]:
        """Return a row with those that follow it soon, and the call that comes after them, if it is there already."""
        rows, end = [first], time.monotonic() + _GATHER_SECONDS
        while len(rows) < _MOST_GATHERED:
            try:
                call = self._calls.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return rows, None  # type: ignore[return-value]
            if call is None:
                self._calls.put(None)
                return rows, None  # type: ignore[return-value]
            if call[0] != "log":
                return rows, call  # type: ignore[return-value]
            rows.append(call[1])
        return rows, None  # type: ignore[return-value]
