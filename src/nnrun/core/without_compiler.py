"""Avoid importing torch's compiler, `torch._dynamo`, which takes as long as importing torch itself.

torch excludes some methods of its optimizers from compilation, and for that imports the compiler when they are first
called, whether or not anything is ever compiled. Until something else imports it, they are called here without it:
the same functions on the same numbers.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

# The versions of torch whose optimizers are known to work like this; with others the compiler is imported as usual.
_OLDEST, _NEWEST = (2, 9), (2, 14)
# The methods that torch._compile._disable_dynamo wraps, and the attribute in which it looks for a replacement.
_KEPT_OUT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_IN_PLACE = "__dynamo_disable"
# The name of the wrapper that torch.optim.optimizer._use_grad_for_differentiable makes of a `step`.
_WRAPPED_STEP = "_use_grad"


def spare_compiler() -> bool:
    """Let torch's optimizers be built and used without the compiler; return whether that is possible.

    Once the compiler is imported, torch's own methods are used again.
    """
    if _is_imported() or not _OLDEST <= _version() <= _NEWEST:
        return False
    for name in _KEPT_OUT:
        _call_plainly(getattr(Optimizer, name))
    for kind in vars(torch.optim).values():
        step: Any = vars(kind).get("step") if isinstance(kind, type) and issubclass(kind, Optimizer) else None
        function = getattr(step, "__wrapped__", None)
        if function is not None and getattr(getattr(step, "__code__", None), "co_name", None) == _WRAPPED_STEP:
            kind.step = _step_plainly(step, function)
    return True


def _version() -> tuple[int, int]:
    """Return torch's major and minor version."""
    major, minor, *_ = torch.__version__.split(".")
    return int(major), int(minor)


def _is_imported() -> bool:
    """Return whether the compiler is already imported, so that nothing can be saved."""
    return "torch._dynamo" in sys.modules


def _call_plainly(torchs: Callable[..., Any]) -> None:
    """Let torch's wrapper call its function directly as long as the compiler is not imported."""
    function = getattr(torchs, "__wrapped__", None)
    if function is None or _IN_PLACE not in torchs.__code__.co_consts or hasattr(function, _IN_PLACE):
        return

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_imported():
            return function(*args, **kwargs)
        vars(function).pop(_IN_PLACE, None)  # another thread may have done so
        return torchs(*args, **kwargs)

    setattr(function, _IN_PLACE, call)


def _step_plainly(torchs: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `step` like `torchs`, torch's wrapper of `function`, that does not import the compiler."""

    @functools.wraps(function)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _is_imported():
            return torchs(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return function(self, *args, **kwargs)

    return step
