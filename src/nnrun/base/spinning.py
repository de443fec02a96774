"""Keep OpenMP's waiting threads from spinning on cores that other programs want.

GNU's OpenMP (libgomp, which torch's Linux wheels bring) lets a thread that waits for the others spin for some 10 ms.
That is fastest while the cores are free. Two runs on the same cores block each other by it: ten times as slow as with
one thread each. libgomp spins for 100 rounds only while its process has more OpenMP threads than cores (its manual:
GOMP_SPINCOUNT). So a second, idle team of threads turns spinning off, and its end turns it on again.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nnrun.base.host import num_cores_by_affinity

_LOOK_SECONDS = 0.1
# Fraction of the time that the computing thread was ready to run but had no core.
_BUSY_SHARE, _QUIET_SHARE = 0.2, 0.1
# Consecutive quiet looks before spinning resumes: another run may only be reading data for a moment.
_NUM_QUIET_LOOKS = 10
# A run with far fewer threads than cores would need a larger idle team, and its spinning matters little.
_MOST_IDLE_THREADS = 16
# The longest wait for a thread that has nothing left to do.
_STOP_SECONDS = 1.0
# omp_pause_soft of OpenMP 5.0.
_PAUSE_SOFT = 1
_USERS_CHOICE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class SpinsWhileAlone:
    """Turns spinning off while other programs want the cores, until `stop`."""

    def __init__(self, seconds_without_core: Callable[[], float], team: IdleTeam) -> None:
        """Start watching; `seconds_without_core` returns the total time that the computing thread waited for a core."""
        self._seconds_without_core, self._team = seconds_without_core, team
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and leave no thread behind; OpenMP spins again as by default."""
        self._is_over.set()
        self._thread.join(_STOP_SECONDS)

    def _watch(self) -> None:
        with suppress(OSError):  # the thread that computed has ended
            then, waited_then, num_quiet = time.monotonic(), self._seconds_without_core(), 0
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
    """Idle OpenMP threads, owned by a thread of their own, that make libgomp count more threads than cores."""

    def __init__(self, num_threads: int) -> None:
        """Set the number of threads; `keep` starts them."""
        self.num_threads = num_threads
        # The thread that owns them, and the event that ends it.
        self._owner: tuple[threading.Thread, threading.Event] | None = None

    def keep(self) -> None:
        """Start the threads, unless they are running."""
        if self._owner is None and (library := _libgomp()) is not None:
            end = threading.Event()
            owner = threading.Thread(target=self._hold, args=(library, end), daemon=True)
            with suppress(RuntimeError):  # no thread is left to this process or user: OpenMP spins as by default
                owner.start()
                self._owner = owner, end

    def end(self) -> None:
        """End the threads, if they are running."""
        if self._owner is not None:
            (owner, end), self._owner = self._owner, None
            end.set()
            owner.join(_STOP_SECONDS)

    def _hold(self, library: ctypes.CDLL, end: threading.Event) -> None:
        """Run a parallel region in which each thread frees a null pointer, a no-op; keep its threads until `end`."""
        if not _can_start(self.num_threads):
            return
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        library.GOMP_parallel(nothing, None, ctypes.c_uint(self.num_threads), ctypes.c_uint(0))
        end.wait()


def _can_start(num_threads: int) -> bool:
    """Return whether the process may have as many more threads: libgomp ends the process where it gets none."""
    end, started = threading.Event(), []
    try:
        for _ in range(num_threads):
            started.append(threading.Thread(target=end.wait, daemon=True))
            started[-1].start()
    except RuntimeError:
        started.pop()
        return False
    finally:
        end.set()
        for thread in started:
            thread.join()
    return True


def spin_while_alone(num_threads: int, *, is_busy: bool = False) -> SpinsWhileAlone | None:
    """Watch the calling thread, which computes with `num_threads` OpenMP threads; None if that has no effect.

    It has none with one thread, if the user has set how threads wait, without Linux's scheduler statistics, or if no
    thread can be started. With `is_busy`, spinning is off from the start.
    """
    # What libgomp counts as the cores.
    num_idle = num_cores_by_affinity() - num_threads + 2
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
    try:
        return SpinsWhileAlone(seconds_without_core, team)
    except RuntimeError:
        team.end()
        return None


def end_idle_threads() -> None:
    """End the OpenMP threads that wait for the calling thread: they count, and start again when it needs them."""
    library = _libgomp()
    if library is not None and hasattr(library, "omp_pause_resource_all"):
        library.omp_pause_resource_all(_PAUSE_SOFT)


@functools.cache
def _libgomp() -> ctypes.CDLL | None:
    """Return the libgomp loaded in this process, or None."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            path = line.partition("/")[2]
            if path.rpartition("/")[2].startswith("libgomp"):
                return ctypes.CDLL(f"/{path}")
    return None
