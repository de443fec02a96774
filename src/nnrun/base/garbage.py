"""Pause garbage collection while a command imports its modules: it takes a sixth of the start and finds nothing."""

from __future__ import annotations

import gc

_IS_PUT_OFF: list[bool] = []


def put_off_collection() -> None:
    """Pause garbage collection until `collect_again`, unless it is already disabled."""
    if gc.isenabled():
        gc.disable()
        _IS_PUT_OFF.append(True)


def collect_again() -> None:
    """Resume garbage collection, ignoring the objects that exist by now. Do nothing if it was not paused."""
    if _IS_PUT_OFF:
        _IS_PUT_OFF.clear()
        gc.freeze()
        gc.enable()
