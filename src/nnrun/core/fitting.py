"""Who trains: by default `fit`, one training by itself; a sweep may train several together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nnrun.core.loop import fit
from nnrun.core.plan import Plan
from nnrun.core.state import TrainState
from nnrun.core.work import Work

Fit = Callable[[TrainState, Work, Plan], None]
# Per thread, as the words of a command are.
_FIT: ContextVar[Fit] = ContextVar("_FIT", default=fit)


def fitting() -> Fit:
    """Return what trains in this thread."""
    return _FIT.get()


@contextmanager
def fitted_by(how: Fit) -> Iterator[None]:
    """Let `how` train in the block, in place of `fit`: it does all that `fit` does."""
    token = _FIT.set(how)
    try:
        yield
    finally:
        _FIT.reset(token)
