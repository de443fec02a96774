"""How nnrun was called: from a command line, or by `nnrun.run` from a program; either may ask for quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Invocation:
    """The words of a command, and whether it prints only errors."""

    words: tuple[str, ...]
    program: str = "nnrun"
    is_quiet: bool = False


# Per thread: others may call nnrun too.
_CALLED: ContextVar[Invocation | None] = ContextVar("_CALLED", default=None)
# When the command, or the job of a sweep, began.
_BEGAN: ContextVar[float | None] = ContextVar("_BEGAN", default=None)


def begin() -> None:
    """Note that a command, or a job of a sweep, begins."""
    _BEGAN.set(time.perf_counter())


def seconds_since_begin() -> float:
    """Return how long ago this thread's command, or job of a sweep, began."""
    began = _BEGAN.get()
    return 0.0 if began is None else time.perf_counter() - began


def invocation() -> Invocation:
    """Return how this thread called nnrun: by the process's command line, unless it was from Python."""
    return _CALLED.get() or Invocation(tuple(sys.argv[1:]), Path(sys.argv[0]).name)


@contextmanager
def called_from_python(words: Sequence[str], *, quiet: bool) -> Iterator[None]:
    """Run the block as a command with these words, whatever the command line of the process is."""
    token = _CALLED.set(Invocation(tuple(words), is_quiet=quiet))
    try:
        yield
    finally:
        _CALLED.reset(token)


@contextmanager
def quietly() -> Iterator[None]:
    """Print nothing but errors in the block."""
    token = _CALLED.set(replace(invocation(), is_quiet=True))
    try:
        yield
    finally:
        _CALLED.reset(token)
