"""Names that users build on and that are others today: the old ones go on for two minor versions, and warn.

Such a warning is Python's `DeprecationWarning`; a command shows it, and `python -W error` makes an error of it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def warn_renamed(old: str, new: str, gone_in: str, stacklevel: int = 1) -> None:
    """Warn that a name is another one now, and say in which version the old one goes.

    The warning is about the code that calls the caller of this; with a higher `stacklevel` about who calls that.
    """
    text = f"{old} is {new} now; the old name goes with nnrun {gone_in}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 2)


def warn_about(kind: type, old: str, new: str, gone_in: str) -> None:
    """Do the same of what a class of the user's own has, where it is we who call it."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    text = f"{old} is {new} now; the old name goes with nnrun {gone_in}"
    warnings.warn_explicit(text, DeprecationWarning, file, 1, kind.__module__)


def moved(module: str, places: Mapping[str, str], now_in: str, gone_in: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose names users import from `now_in` now; `places` is where each lies."""

    def __getattr__(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", f"{now_in}.{name}", gone_in)
        return getattr(import_module(places[name]), name)

    return __getattr__
