"""One command from YAML to a trained, verified, deployable network.

From Python: `run`, `compose`, `predictor` and `load`. The whole interface for programs is `nnrun.api`.
"""

from __future__ import annotations

# Stands in for typing.TYPE_CHECKING: importing typing takes time, and this module is imported first.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nnrun import api
    from nnrun.api import compose, load, predictor, run

__version__ = "0.8.0"
__all__ = ["api", "compose", "load", "predictor", "run"]


if not TYPE_CHECKING:  # with it, a type checker would accept every name

    def __getattr__(name: str) -> object:
        """Import a name on first use: `nnrun --help` needs none of them."""
        if name not in __all__:
            raise AttributeError(f"module 'nnrun' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - see above

        module = import_module("nnrun.api")
        return module if name == "api" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
