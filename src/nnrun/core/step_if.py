"""Make an optimizer's step depend on a flag that the host need not read, or make it and undo it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnrun.core.device import is_gpu
from nnrun.core.multi_tensor import Snapshot


def step_if(good: Tensor, optimizer: Optimizer) -> None:
    """Make an optimizer's step if `good`, a bool on its device, is true; without waiting for the device if possible.

    Fused kernels take the flag in the way that GradScaler uses. For other optimizers on a GPU, the step is made and
    undone, once their state is complete. Everything else waits for the device.
    """
    if _takes_a_flag(optimizer):
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        optimizer.found_inf = (~good).to(torch.float32)  # type: ignore[attr-defined]
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    elif is_gpu(good.device) and can_be_undone(optimizer):
        step_and_undo_unless(good, optimizer)
    elif good.item():  # waits for the device
        optimizer.step()


def trained_by(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters that an optimizer's next step changes."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients that an optimizer's next step uses."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _takes_a_flag(optimizer: Optimizer) -> bool:
    """Return whether an optimizer's own kernels can skip a step on a flag.

    Fused SGD cannot skip its first step: it would keep an uninitialized momentum buffer.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        return False
    has_buffers = isinstance(optimizer, torch.optim.SGD) and any(group["momentum"] for group in optimizer.param_groups)
    return not has_buffers or all(optimizer.state.get(p) for p in trained_by(optimizer))


def can_be_undone(optimizer: Optimizer) -> bool:
    """Return whether all that a step changes is known: for torch's own optimizers, the parameters and their states.

    The states must be complete, as they are after a first step, and on the device: step counts on the host are moved
    there if their group can keep them on the device.
    """
    if not f"{type(optimizer).__module__}.".startswith("torch.optim."):
        return False
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = optimizer.state.get(parameter, {})
            if not state and not _needs_no_state(optimizer):
                return False
            for name, value in state.items():
                if isinstance(value, Tensor) and value.device != parameter.device and "capturable" in group:
                    state[name] = value = value.to(parameter.device)  # noqa: PLW2901 - the state's own
                if value is not None and not (isinstance(value, Tensor) and value.device == parameter.device):
                    return False
    return True


def _needs_no_state(optimizer: Optimizer) -> bool:
    """Return whether an optimizer has no state."""
    return isinstance(optimizer, torch.optim.SGD) and not any(group["momentum"] for group in optimizer.param_groups)


def step_and_undo_unless(good: Tensor, optimizer: Optimizer) -> None:
    """Make a step that can be undone, and undo it unless `good`, a bool on the device."""

    def changed() -> Iterator[Tensor]:
        for parameter in trained_by(optimizer):
            yield parameter
            yield from (value for value in optimizer.state.get(parameter, {}).values() if value is not None)

    before = Snapshot(changed())
    with _counting_on_the_device(optimizer):
        optimizer.step()
    before.put_back_unless(good, changed())


@contextmanager
def _counting_on_the_device(optimizer: Optimizer) -> Iterator[None]:
    """Let an optimizer count its steps on the device in the block: a count on the host could not be undone."""
    groups = [group for group in optimizer.param_groups if group.get("capturable") is False]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False
