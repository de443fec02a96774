"""Keep OpenMP's waiting threads from spinning on cores that other programs want.

GNU's OpenMP (libgomp, which torch's Linux wheels bring) lets a thread that waits for the others spin for some 10 ms.
That is fastest while the cores are free. Two runs on the same cores block each other by it: ten times as slow as with
one thread each. libgomp spins for 100 rounds only while its process has more OpenMP threads than cores (its manual:
GOMP_SPINCOUNT). So a second, idle team of threads turns spinning off, and its end turns it on again.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOOK_SECONDS = 0.1
# Shares of the time in which the computing thread could have run and got no core.
_BUSY_SHARE, _QUIET_SHARE = 0.2, 0.1
# So many quiet looks in a row turn spinning on again: another run may be reading or validating meanwhile.
_NUM_QUIET_LOOKS = 10
# A larger idle team costs more than it brings: where most cores are not ours, spinning on ours harms few.
_MOST_IDLE_THREADS = 16
_USERS_CHOICE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class SpinsWhileAlone:
    """Turns spinning off while others want the cores, from its start to `stop`; looks ten times a second."""

    def __init__(self, seconds_without_core: Callable[[], float], team: IdleTeam) -> None:
        """Begin to watch; the function returns how long in all the computing thread has waited for a core."""
        self._seconds_without_core, self._team = seconds_without_core, team
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Stop watching; leave OpenMP to spin as it does by itself."""
        self._is_over.set()

    def _watch(self) -> None:
        then, waited_then, num_quiet = time.monotonic(), self._seconds_without_core(), 0
        with suppress(OSError):  # the thread that computed has ended
            while not self._is_over.wait(_LOOK_SECONDS):
                now, waited = time.monotonic(), self._seconds_without_core()
                share = (waited - waited_then) / (now - then)
                then, waited_then = now, waited
                num_quiet = num_quiet + 1 if share < _QUIET_SHARE else 0
                if share >= _BUSY_SHARE:
                    self._team.keep()
                elif num_quiet >= _NUM_QUIET_LOOKS:
                    self._team.end()
        self._team.end()


class IdleTeam:
    """OpenMP threads that do nothing, so many that libgomp has more threads than cores, in a thread that owns them."""

    def __init__(self, num_threads: int) -> None:
        """Name the number of threads; none is started."""
        self.num_threads = num_threads
        self._end: threading.Event | None = None

    def keep(self) -> None:
        """Start the threads, unless they are there."""
        if self._end is None and (library := _libgomp()) is not None:
            self._end = threading.Event()
            threading.Thread(target=self._hold, args=(library, self._end), daemon=True).start()

    def end(self) -> None:
        """End the threads, if they are there."""
        if self._end is not None:
            self._end.set()
            self._end = None

    def _hold(self, library: ctypes.CDLL, end: threading.Event) -> None:
        """Run a parallel region in which each thread frees a null pointer, which does nothing; keep its threads."""
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        library.GOMP_parallel(nothing, None, ctypes.c_uint(self.num_threads), ctypes.c_uint(0))
        end.wait()


def spin_while_alone(num_threads: int, *, is_busy: bool = False) -> SpinsWhileAlone | None:
    """Watch over the calling thread, which computes with so many OpenMP threads; None where that would change nothing.

    That is with one thread; where the user has set how threads wait; and without Linux's scheduler statistics. Where
    the machine is known to be busy, spinning is off from the start.
    """
    num_idle = _num_cores() - num_threads + 2
    if num_threads == 1 or num_idle > _MOST_IDLE_THREADS or any(name in os.environ for name in _USERS_CHOICE):
        return None
    statistics = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def seconds_without_core() -> float:
        return int(statistics.read_text(encoding="ascii").split()[1]) / 1e9

    try:
        seconds_without_core()
    except (OSError, IndexError, ValueError):  # no Linux, or a kernel without them
        return None
    team = IdleTeam(max(2, num_idle))
    if is_busy:
        team.keep()
    return SpinsWhileAlone(seconds_without_core, team)


def _num_cores() -> int:
    """Return how many cores libgomp counts: those of the process's affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _libgomp() -> ctypes.CDLL | None:
    """Return the libgomp that this process has loaded."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            path = line.partition("/")[2]
            if path.rpartition("/")[2].startswith("libgomp"):
                return ctypes.CDLL(f"/{path}")
    return None
