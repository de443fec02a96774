"""A shelf for what runs of one sweep can share, in files in memory: a sweep sets one; a plain run has none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Shelf(Protocol):
    """Files in memory by key. Whoever takes a descriptor from it, or gives one to it, hands it over."""

    def take(self, key: str) -> int | None:
        """Return the file of a key, perhaps after another run has given it. None: make it, and give it."""

    def give(self, key: str, descriptor: int | None) -> None:
        """Give the file of a key; None: it cannot be shared."""


# Per thread, as the words of a command are.
_SHELF: ContextVar[Shelf | None] = ContextVar("_SHELF", default=None)


def shelf() -> Shelf | None:
    """Return the shelf of the sweep that this thread runs a job of, if there is one."""
    return _SHELF.get()


@contextmanager
def sharing(through: Shelf | None) -> Iterator[None]:
    """Let the run in the block take from a shelf what other runs of its sweep have made, and give what it makes."""
    token = _SHELF.set(through)
    try:
        yield
    finally:
        _SHELF.reset(token)


def file_in_memory(name: str) -> int:
    """Return a new file without a name on disk: in memory, or, where the system has no such files, a temporary one."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
