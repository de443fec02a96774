"""What must not outlive a process, however it ends: its children, its temporary files, a status that says `running`.

Who makes such a thing says here how it is undone, and forgets that once it is done with. Standard library only.
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
# prctl(PR_SET_PDEATHSIG) of Linux.
_SET_DEATH_SIGNAL = 1
# Found before anything is forked: a child of a process with threads should not have to load a library.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def at_the_end(undo: Callable[[], object]) -> int:
    """Have something undone where the process ends before `forget` is called with the number returned."""
    number = next(_NUMBERS)
    _UNDOING[number] = undo
    return number


def forget(number: int) -> None:
    """Take back what `at_the_end` was told."""
    _UNDOING.pop(number, None)


def undo_all() -> None:
    """Undo what is left, the newest first; what fails does not keep the rest."""
    while _UNDOING:
        _, undo = _UNDOING.popitem()
        with contextlib.suppress(Exception):
            undo()


def die_with_parent(parent: int) -> None:
    """End this process, at once, when its parent ends, however that does; `parent` is its pid.

    Where the system cannot do that, other than Linux, a child has to see by itself that its parent is gone.
    """
    if _PRCTL is not None:
        _PRCTL(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


# What a process has to undo is not its children's to undo.
os.register_at_fork(after_in_child=_UNDOING.clear)
