"""Optimizers without torch's compiler: it is not imported, and every update is torch's own to the bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnrun.core import without_compiler
from support.command_line import environment
from support.options import option_sections

# Take some steps with every optimizer, under a schedule, a gradient scaler, and a closure; resume from the saved state;
# print a hash of the resulting weights and state.
STEPS = """
import hashlib, json, sys
import torch
from torch import nn
from torch.optim import lr_scheduler
from nnrun.core.ema import Ema
from nnrun.core.without_compiler import spare_compiler
from support.options import option_sections, target_and_parameters

spared = sys.argv[1] == "spared" and spare_compiler()
kinds = {name: target_and_parameters(section) for name, section in option_sections("optimizer").items()}
for name, section in list(kinds.items()):
    if "fused" in section[1]:
        kinds[f"{name}, fused"] = section[0], {**section[1], "fused": True}
        kinds[f"{name}, foreach"] = section[0], {**section[1], "foreach": True}
for name in ("Adadelta", "Adafactor", "Adamax", "ASGD", "LBFGS", "Rprop"):
    kinds[f"torch's {name}"] = getattr(torch.optim, name), {"lr": 0.01}

def made(kind, parameters):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return network, kind(network.parameters(), **parameters)

def train(network, optimizer, scheduler, scaler, ema):
    for index in range(3):
        inputs = torch.randn(16, 6, generator=torch.Generator().manual_seed(index))
        def closure():
            optimizer.zero_grad(set_to_none=index == 0)
            loss = network(inputs).square().mean()
            scaler.scale(loss).backward()
            return loss
        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
        else:
            closure()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        ema.update(network)
        scheduler.step()

def digest(*states):
    found = hashlib.sha256()
    for leaf in torch.utils._pytree.tree_leaves(states):
        found.update(leaf.detach().numpy().tobytes() if isinstance(leaf, torch.Tensor) else repr(leaf).encode())
    return found.hexdigest()

said = {}
for name, (kind, parameters) in kinds.items():
    network, optimizer = made(kind, parameters)
    more = lr_scheduler.StepLR(optimizer, 2), torch.amp.GradScaler("cpu"), Ema(network, 0.9)
    train(network, optimizer, *more)
    saved = optimizer.state_dict(), {key: value.clone() for key, value in network.state_dict().items()}
    again, resumed = made(kind, parameters)
    again.load_state_dict(saved[1])
    resumed.load_state_dict(saved[0])
    train(again, resumed, lr_scheduler.ExponentialLR(resumed, 0.5), *more[1:])
    said[name] = digest(saved, again.state_dict(), resumed.state_dict(), more[2].network.state_dict())
heavy = ("torch._dynamo", "sympy", "triton", "scipy", "networkx")
print(json.dumps([bool(spared), [name for name in heavy if name in sys.modules], said]))
"""


def run(way: str) -> tuple[bool, list[str], dict[str, str]]:
    """The output of a process that trains with every optimizer."""
    words = [sys.executable, "-c", STEPS, way]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(), cwd=root)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def test_every_update_is_torchs_own_to_the_bit_and_the_compiler_is_not_imported() -> None:
    """Negative control: on their own, the optimizers import it."""
    spared, plain = run("spared"), run("plain")
    assert (spared[0], spared[1]) == (True, [])
    assert plain[0] is False
    assert "torch._dynamo" in plain[1]
    assert len(spared[2]) > len(option_sections("optimizer")) + 12
    assert spared[2] == plain[2]


def test_with_the_compiler_there_nothing_is_spared() -> None:
    import torch._dynamo

    step = torch.optim.SGD.step
    assert not without_compiler.spare_compiler()
    assert torch.optim.SGD.step is step


HAND_BACK = """
import sys
import torch
from torch import nn
from nnrun.core.without_compiler import spare_compiler
assert spare_compiler()
network = nn.Linear(2, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
guarded = torch.optim.Optimizer.zero_grad.__wrapped__
network(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
modes = []
optimizer.register_step_post_hook(lambda *_: modes.append(torch.is_grad_enabled()))
assert "torch._dynamo" not in sys.modules
import torch._dynamo
calls = []
torch._dynamo.graph_break = lambda: calls.append(1)
optimizer.step()
optimizer.zero_grad()
optimizer.zero_grad()
print(len(calls), getattr(guarded, "__dynamo_disable").__name__ != "call", modes)
"""


def test_once_the_compiler_is_imported_the_optimizers_are_torchs_own_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HAND_BACK], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.stdout == "2 True [True]\n", done.stderr


@pytest.mark.parametrize(
    ("version", "known"),
    [("2.8.0", False), ("2.9.1+cpu", True), ("2.14.1", True), ("2.14.0a0+git", True), ("2.15.0", False)],
)
def test_another_torch_is_left_as_it_is(version: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the check of the version, all of them are patched."""
    patched: list[object] = []
    monkeypatch.setattr(without_compiler, "_is_imported", lambda: False)
    monkeypatch.setattr(without_compiler, "_call_plainly", patched.append)
    monkeypatch.setattr(without_compiler, "_step_plainly", lambda step, _function: step)
    monkeypatch.setattr(torch, "__version__", version)
    assert without_compiler.spare_compiler() is known
    assert bool(patched) is known
