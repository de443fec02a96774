"""A listener to the validations of a training: a sweep's worker sets one; a plain run has none, and pays nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Validated:
    """A validation of a training: the epochs and updates done by then, and its metrics by full name, `valid/loss`.

    `is_last` says that no step follows. `device_bytes` are the peak of a GPU's memory so far, and its total.
    """

    epoch: float
    step: int
    metrics: Mapping[str, float]
    is_last: bool
    device_bytes: tuple[int, int] | None = None


Listener = Callable[[Validated], None]
# Per thread, as the words of a command are.
_LISTENER: ContextVar[Listener | None] = ContextVar("_LISTENER", default=None)


def listener() -> Listener | None:
    """Return who wants to hear of the validations of this thread's training, if anybody does."""
    return _LISTENER.get()


@contextmanager
def heard_by(tell: Listener) -> Iterator[None]:
    """Call `tell` after each validation of a training in the block, once its checkpoint is made.

    To stop the training there, it makes a stop request (signals.py), as a signal would.
    """
    token = _LISTENER.set(tell)
    try:
        yield
    finally:
        _LISTENER.reset(token)
