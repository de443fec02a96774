"""One step proves every parameter: each kind of fault is found and named, and what is no fault is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnrun.tasks.inspect.gradients import Proof, prove


class Faulty(nn.Module):
    """Two layers with a fault in between, and a factor that the fault may use."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 6), nn.Linear(6, 2)
        self.factor = nn.Parameter(torch.ones(()))
        self.fault = fault
        if fault == "dead":
            nn.init.constant_(self.hidden.bias, -100.0)
        if fault == "starts at zero":
            nn.init.zeros_(self.factor)

    def forward(self, inputs):
        hidden = self.hidden(inputs).relu()
        if self.fault == "nan":
            # The slope of a root is infinite at 0, and times 0 no number; the loss is one.
            return self.head(hidden * self.factor) + (self.factor * 0).sqrt()
        if self.fault == "detached":
            hidden = hidden.detach()
        if self.fault == "tiny":
            hidden = hidden * 1e-10
        if self.fault == "not used":
            return self.head(hidden)
        return self.head(hidden * self.factor)


def proof_of(network: nn.Module) -> Proof:
    torch.manual_seed(0)
    inputs, targets = torch.rand(8, 4), torch.arange(8) % 2
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)

    def step() -> float:
        loss = nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        return loss.item()

    def step_again() -> None:
        optimizer.step()
        optimizer.zero_grad()
        step()

    return prove(network, step(), step_again)


HIDDEN = ("hidden.weight", "hidden.bias")


@pytest.mark.parametrize(
    ("fault", "ok", "found"),
    [
        ("none", True, {}),
        ("detached", False, {"missing": HIDDEN}),
        ("not used", False, {"missing": ("factor",)}),
        ("nan", False, {"not_finite": ("factor",)}),
        ("dead", False, {"zero": ("factor", *HIDDEN, "head.weight")}),
        ("starts at zero", True, {"late": (*HIDDEN, "head.weight")}),
        ("tiny", True, {"vanishing": ("factor", *HIDDEN, "head.weight")}),
    ],
)
def test_a_fault_is_found_and_named(fault, ok, found):
    """`none` is the negative control of all others: there, nothing is found."""
    torch.manual_seed(0)
    proof = proof_of(Faulty(fault))
    kinds = ("missing", "not_finite", "zero", "late", "vanishing")
    assert {kind: set(names) for kind in kinds if (names := getattr(proof, kind))} == {
        kind: set(names) for kind, names in found.items()
    }
    assert proof.ok is ok


def test_a_frozen_parameter_needs_no_gradient():
    """Negative control: unfrozen, the same network fails."""
    network = Faulty("detached")
    network.hidden.requires_grad_(False)
    assert proof_of(network).ok
    assert not proof_of(Faulty("detached")).ok


def test_a_flag_set_on_a_module_freezes_nothing():
    """As tutorials do it: the parameters still train, and are proven."""
    network = Faulty("detached")
    network.hidden.requires_grad = False
    assert proof_of(network).missing == HIDDEN


def test_a_loss_that_is_no_number_is_null_in_a_file():
    assert Proof(float("nan"), (), ("a",), (), (), ()).to_json() == {
        "ok": False,
        "loss": None,
        "missing": (),
        "not_finite": ("a",),
        "zero": (),
        "late": (),
        "vanishing": (),
    }
