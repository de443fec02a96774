"""How nnrun was called: by a command line, or by `nnrun.run` from a program, which may want it quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Invocation:
    """The words of a command, and whether anything is to be printed."""

    words: tuple[str, ...]
    program: str = "nnrun"
    is_quiet: bool = False


# Of this thread alone: others may call nnrun too.
_FROM_PYTHON: ContextVar[Invocation | None] = ContextVar("_FROM_PYTHON", default=None)


def invocation() -> Invocation:
    """Return how this thread called nnrun: unless it was from Python, by the command line of the process."""
    return _FROM_PYTHON.get() or Invocation(tuple(sys.argv[1:]), Path(sys.argv[0]).name)


@contextmanager
def called_from_python(words: Sequence[str], *, quiet: bool) -> Iterator[None]:
    """Let the block be what a command with these words does, whatever the command line of the process is."""
    token = _FROM_PYTHON.set(Invocation(tuple(words), is_quiet=quiet))
    try:
        yield
    finally:
        _FROM_PYTHON.reset(token)
