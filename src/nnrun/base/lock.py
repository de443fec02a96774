"""The lock on a run directory: one process at a time writes there. Standard library only."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnrun.base.errors import ResourceError
from nnrun.base.files import saving
from nnrun.base.paths import alone, inside

LOCK_NAME = ".lock"
# A data worker outlives a killed run by some seconds: it must not keep the lock that it inherited.
_HELD: set[int] = set()


@contextmanager
def locked(folder: Path) -> Iterator[str | None]:
    """Hold the lock of a run directory; yield the description of a dead process whose lock was taken over, or None.

    The kernel's lock on the file decides, so that a killed process never blocks; the text inside is for people.
    Raises ResourceError with the pid and the host if a living process holds the lock.
    """
    path = alone(inside(folder, LOCK_NAME))
    with saving(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _HELD.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _in_use(folder, descriptor) from error
        stale = _holder(descriptor)
        owner = f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
        try:
            yield stale or None
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


def check_free(folder: Path) -> None:
    """Raise ResourceError with the pid and the host if a living process holds the lock of a run directory."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return  # there is no lock file, or it cannot be read
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise _in_use(folder, descriptor) from error
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Return whether a living process holds the lock of a run directory."""
    try:
        check_free(folder)
    except ResourceError:
        return True
    return False


def _in_use(folder: Path, descriptor: int) -> ResourceError:
    """Return the error for a run directory whose lock another process holds."""
    return ResourceError(
        f"{folder} is in use by {_holder(descriptor) or 'another process'}; wait for it, or stop it first"
    )


def _holder(descriptor: int) -> str:
    """Return the holder that a lock file names; empty if the last holder released the lock."""
    return os.pread(descriptor, 4096, 0).decode(errors="replace").strip()


def _let_go() -> None:
    """Close the locks of the parent process, in a forked child."""
    while _HELD:
        os.close(_HELD.pop())


os.register_at_fork(after_in_child=_let_go)
