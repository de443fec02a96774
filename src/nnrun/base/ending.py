"""Clean up when a process ends, however it ends: its children, its temporary files, a status that says `running`.

The code that creates such a thing registers here how to undo it, and cancels that when done. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Callable

_UNDOING: dict[int, Callable[[], object]] = {}
_NUMBERS = itertools.count()
_LEFT_BEHIND: list[bool] = []
# prctl(PR_SET_PDEATHSIG) of Linux.
_SET_DEATH_SIGNAL = 1
# Looked up before any fork: the child of a process with threads should not have to load a library.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def at_the_end(undo: Callable[[], object]) -> int:
    """Register what to undo if the process ends before `forget` is called with the number returned."""
    number = next(_NUMBERS)
    _UNDOING[number] = undo
    return number


def forget(number: int) -> None:
    """Cancel what `at_the_end` registered."""
    _UNDOING.pop(number, None)


def undo_all() -> None:
    """Undo everything still registered, the newest first; an error does not stop the rest."""
    while _UNDOING:
        _, undo = _UNDOING.popitem()
        with contextlib.suppress(Exception):
            undo()


def leave_threads_behind() -> None:
    """Note that a thread hangs, in a library whose own exit functions may hang too."""
    _LEFT_BEHIND.append(True)


def has_left_threads() -> bool:
    """Return whether a thread of a library hangs."""
    return bool(_LEFT_BEHIND)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have this process killed when its parent ends, however it ends; `parent` is the parent's pid.

    `number` is the signal that it gets. Only Linux can do that; elsewhere a child has to notice by itself that its
    parent is gone.
    """
    if _PRCTL is not None:
        _PRCTL(_SET_DEATH_SIGNAL, number, 0, 0, 0)
    if os.getppid() != parent:  # it had already ended
        os._exit(1)


# A forked child must not undo what its parent registered.
os.register_at_fork(after_in_child=_UNDOING.clear)
