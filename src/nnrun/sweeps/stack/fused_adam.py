"""Adam's update by torch's fused kernel, called directly: most of a small network's update is what surrounds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer, optimizer

# Options of a group with which the kernel is called as below.
_AS_CALLED = {"fused": True, "amsgrad": False, "maximize": False, "differentiable": False, "capturable": False}
_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class _Group:
    """A group of parameters of an optimizer: its options, which a schedule changes, and its tensors."""

    options: Mapping[str, Any]
    parameters: list[Tensor]
    state: list[list[Tensor]]
    kernel: Callable[..., None]

    def update(self) -> None:
        """Make the update; each parameter has a gradient."""
        options, (means, squares, steps) = self.options, self.state
        beta1, beta2 = options["betas"]
        torch._foreach_add_(steps, 1)
        self.kernel(
            self.parameters,
            [it.grad for it in self.parameters],
            means,
            squares,
            [],
            steps,
            lr=options["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=options["weight_decay"],
            eps=options["eps"],
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )


class FusedAdam:
    """Make the updates of an optimizer: the first by its own `step`, the others by the kernel that this calls.

    The bits are the same. An optimizer of another kind, or whose options the kernel does not have, makes all its
    updates itself.
    """

    def __init__(self, its: Optimizer) -> None:
        self._its = its
        self._groups: list[_Group] | None = [] if type(its) in (Adam, AdamW) else None

    @torch.no_grad()
    def step(self) -> None:
        """Make an update from the gradients."""
        if self._groups and all(it.grad is not None for group in self._groups for it in group.parameters):
            for group in self._groups:
                group.update()
            return
        self._its.step()
        if self._groups == []:  # from now on each parameter has its state
            self._groups = _groups_of(self._its)


def _groups_of(its: Optimizer) -> list[_Group] | None:
    """Return the groups of an Adam whose state is there; None if it is to make its updates itself."""
    is_watched = its._optimizer_step_pre_hooks or its._optimizer_step_post_hooks
    if is_watched or optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks:
        return None
    groups = []
    for options in its.param_groups:
        parameters, numbers = options["params"], (options["lr"], *options["betas"])
        is_plain = all(options.get(name, False) == value for name, value in _AS_CALLED.items())
        if not is_plain or any(isinstance(it, Tensor) for it in numbers):
            return None
        if any(name not in its.state.get(each, {}) for each in parameters for name in _STATE):
            return None
        if len({(each.device, each.dtype) for each in parameters}) > 1 or any(map(torch.is_complex, parameters)):
            return None
        # AdamW is an Adam with this option since torch 2.7.
        decays = options.get("decoupled_weight_decay", type(its) is AdamW)
        state = [[its.state[each][name] for each in parameters] for name in _STATE]
        groups.append(_Group(options, parameters, state, torch._fused_adamw_ if decays else torch._fused_adam_))
    return groups
