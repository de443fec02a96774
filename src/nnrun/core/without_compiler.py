"""Spare a run the import of torch's compiler, `torch._dynamo`, which takes as long as that of torch itself.

torch keeps parts of its optimizers out of what is compiled, and imports the compiler for that when they are first
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

# The versions of torch whose optimizers are known to be made in this way, and how; with others it is imported as ever.
_OLDEST, _NEWEST = (2, 9), (2, 14)
# What torch._compile._disable_dynamo wraps: it asks the function for what to call in its place.
_KEPT_OUT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_IN_PLACE = "__dynamo_disable"
# What torch.optim.optimizer._use_grad_for_differentiable makes of a `step`.
_WRAPPED_STEP = "_use_grad"


def spare_compiler() -> bool:
    """Let torch's optimizers be built and used without the compiler; return whether they can be.

    As soon as it is imported, they are torch's own again.
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
    """Return the version of torch, without what follows its first two numbers."""
    major, minor, *_ = torch.__version__.split(".")
    return int(major), int(minor)


def _is_imported() -> bool:
    """Return whether the compiler is there already, so that nothing is spared."""
    return "torch._dynamo" in sys.modules


def _call_plainly(torchs: Callable[..., Any]) -> None:
    """Let what torch keeps out of the compiler call its function by itself, as long as there is no compiler."""
    function = getattr(torchs, "__wrapped__", None)
    if function is None or _IN_PLACE not in torchs.__code__.co_consts or hasattr(function, _IN_PLACE):
        return

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_imported():
            return function(*args, **kwargs)
        vars(function).pop(_IN_PLACE, None)  # another thread may have
        return torchs(*args, **kwargs)

    setattr(function, _IN_PLACE, call)


def _step_plainly(torchs: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `step` that does what `torchs`, torch's wrapper of `function`, does, without importing the compiler."""

    @functools.wraps(function)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _is_imported():
            return torchs(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return function(self, *args, **kwargs)

    return step
