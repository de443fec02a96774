"""The kernel called directly makes the updates of the optimizer, to the bit; what it lacks it leaves to that."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnrun.sweeps.stack.fused_adam import FusedAdam


@pytest.mark.parametrize(
    ("kind", "options", "is_direct"),
    [
        (torch.optim.Adam, {}, True),
        (torch.optim.AdamW, {"betas": (0.8, 0.99)}, True),
        (torch.optim.Adam, {"amsgrad": True}, False),
        (torch.optim.RMSprop, {}, False),
    ],
)
def test_its_updates_are_those_of_the_optimizer(
    kind: Any, options: dict[str, Any], is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if issubclass(kind, torch.optim.Adam):
        options |= {"fused": True}
    ours, theirs = (networks := [nn.Linear(5, 3), nn.Linear(5, 3)])
    ours.load_state_dict(theirs.state_dict())
    optimizers = [
        kind([{"params": [each.weight]}, {"params": [each.bias], "weight_decay": 0.5}], lr=0.1, **options)
        for each in networks
    ]
    direct, called = FusedAdam(optimizers[0]), list[str]()
    monkeypatch.setattr(optimizers[0], "step", lambda step=optimizers[0].step: called.append("step") or step())
    for number in range(4):
        for optimizer, each in zip(optimizers, networks, strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + number)
            gradient = torch.Generator().manual_seed(number)
            for it in each.parameters():
                it.grad = torch.randn(it.shape, generator=gradient)
        direct.step()
        optimizers[1].step()
    assert len(called) == (1 if is_direct else 4)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert tensors(optimizers[0]) == tensors(optimizers[1])


def tensors(optimizer: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    states = optimizer.state_dict()["state"].values()
    return [(name, it.tolist() if isinstance(it, Tensor) else it) for state in states for name, it in state.items()]
