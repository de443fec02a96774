"""Python looks for no garbage while a command imports what it needs: it takes a sixth of the start, and finds none."""

from __future__ import annotations

import gc

_IS_PUT_OFF: list[bool] = []


def put_off_collection() -> None:
    """Look for no garbage until `collect_again`, unless somebody has decided on that already."""
    if gc.isenabled():
        gc.disable()
        _IS_PUT_OFF.append(True)


def collect_again() -> None:
    """Look for garbage as ever, but not among what is there by now. Nothing, where nothing was put off."""
    if _IS_PUT_OFF:
        _IS_PUT_OFF.clear()
        gc.freeze()
        gc.enable()
