"""One command from YAML to a trained, proven, deployable network.

From Python: `run`, `compose`, `predictor` and `load`. What programs build on is gathered in `nnrun.api`.
"""

from __future__ import annotations

# As typing has it, which takes a while to import: what comes first of all must not take long.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nnrun import api
    from nnrun.api import compose, load, predictor, run

__version__ = "0.5.0"
__all__ = ["api", "compose", "load", "predictor", "run"]


if not TYPE_CHECKING:  # a type checker would take every name for one that there is

    def __getattr__(name: str) -> object:
        """Import what is asked for when it is asked for: `nnrun --help` needs none of it."""
        if name not in __all__:
            raise AttributeError(f"module 'nnrun' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - see above

        module = import_module("nnrun.api")
        return module if name == "api" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
