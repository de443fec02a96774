"""Deprecated names: they still work for two minor versions, with a warning.

The warning is Python's `DeprecationWarning`; a command shows it, and `python -W error` turns it into an error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def warn_renamed(old: str, new: str, gone_in: str, stacklevel: int = 1) -> None:
    """Warn that a name was renamed, and say in which version the old one is removed.

    The warning points to the code that calls the caller of this function; a higher `stacklevel` points further up.
    """
    text = f"{old} is now {new}; the old name will be removed in nnrun {gone_in}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 2)


def warn_about(kind: type, old: str, new: str, gone_in: str) -> None:
    """Warn in the same way about a member of a user's class that nnrun calls."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    text = f"{old} is now {new}; the old name will be removed in nnrun {gone_in}"
    warnings.warn_explicit(text, DeprecationWarning, file, 1, kind.__module__)


def moved(module: str, places: Mapping[str, str], now_in: str, gone_in: str) -> Callable[[str], Any]:
    """Return a module's `__getattr__` for names that users now import from `now_in`; `places` says where each is."""

    def __getattr__(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", f"{now_in}.{name}", gone_in)
        return getattr(import_module(places[name]), name)

    return __getattr__
