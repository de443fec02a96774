"""The passes of a step, in the training's number format; an error in one is reported as the plug-in's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nnrun.base.foreign_errors import calling
from nnrun.core.seams.data import Tree
from nnrun.core.state import TrainState
from nnrun.core.step_if import step_if


def forward(state: TrainState, inputs: Tree) -> Any:
    """Return the network's outputs."""
    with calling("model"), state.precision.autocast(state.device):
        return state.train_module(inputs)


def backward(state: TrainState, loss: Tensor) -> None:
    """Add the gradients of a loss, scaled if the precision requires it."""
    with calling("model"):
        (state.scaler.scale(loss) if state.scaler else loss).backward()


def unscale(state: TrainState) -> None:
    """Divide the gradients by their scale, if they have one."""
    if state.scaler:
        state.scaler.unscale_(state.optimizer)


@torch.no_grad()
def clip(state: TrainState, most: float | None) -> Tensor | None:
    """Clip the norm of the gradients, if there is a limit; return it, None where neither that nor a row needs it."""
    if most is None and not state.is_logged:
        return None
    trained = [parameter for parameter in state.world.own(state.network).values() if parameter.grad is not None]
    norm = state.world.norm([parameter.grad for parameter in trained if parameter.grad is not None])
    if most is not None:
        torch.nn.utils.clip_grads_with_norm_(trained, most, norm)
    return norm


def make_update(state: TrainState, good: Tensor | None = None) -> None:
    """Make the optimizer's update from unscaled gradients, unless `good`, a bool on the device, is false.

    A scaler judges the gradients itself: in fp16 they overflow regularly.
    """
    if state.scaler:
        first, *others = state.scaler._found_inf_per_device(state.optimizer).values()
        good = sum(others, first) == 0
    with calling("optimizer"):
        if good is None:
            state.optimizer.step()
        else:
            step_if(good, state.optimizer)
        if state.scaler:
            state.scaler.update()
