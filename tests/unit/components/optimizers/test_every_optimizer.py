"""Every option of conf/optimizer times every property that a run relies on."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from support.options import option_sections, target_and_parameters, through_a_file

OPTIONS = option_sections("optimizer")
every_option = pytest.mark.parametrize("option", sorted(OPTIONS))


def build(option: str, params: Any) -> Optimizer:
    target, parameters = target_and_parameters(OPTIONS[option])
    return target(params, **copy.deepcopy(parameters))


def small_model() -> nn.Sequential:
    """Parameters of one, two and four dimensions, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))


def train(model: nn.Module, optimizer: Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(8, 1, 6, 6, generator=generator)
        targets = torch.randint(5, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


def test_the_table_is_not_empty():
    assert {"adam", "adamw", "muon", "sgd"} <= OPTIONS.keys()


@every_option
def test_lists_every_parameter_of_its_class_and_no_other(option):
    target, parameters = target_and_parameters(OPTIONS[option])
    assert set(parameters) == set(inspect.signature(target).parameters) - {"params"}


@every_option
def test_keeps_the_values_of_the_file(option):
    """Negative control: a parameter that the class ignores would leave its default in the group."""
    _, parameters = target_and_parameters(OPTIONS[option])
    groups = build(option, small_model().parameters()).param_groups
    assert groups[0]["lr"] == parameters["lr"]
    assert groups[0]["weight_decay"] == parameters["weight_decay"]


@every_option
def test_one_step_lowers_a_quadratic_in_every_parameter(option):
    """Negative control: a parameter that is in no group, as the biases beside Muon may be, stays where it is."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape)) for shape in ((5,), (5, 4), (3, 2, 3, 3))]

    def quadratics() -> list[Tensor]:
        return [(param**2).sum() / 2 for param in params]

    before = quadratics()
    optimizer = build(option, params)
    torch.stack(before).sum().backward()
    optimizer.step()
    assert all(after < value for after, value in zip(quadratics(), before, strict=True))


@every_option
def test_resumed_from_a_file_it_gives_the_same_bits(option):
    """Negative control: with a fresh optimizer the weights come out differently."""
    model = small_model()
    optimizer = build(option, model.parameters())
    train(model, optimizer, 0, 3)
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    train(model, optimizer, 3, 6)
    outcomes = []
    for restores in (True, False):
        resumed = small_model()
        resumed.load_state_dict(saved["model"])
        fresh = build(option, resumed.parameters())
        if restores:
            fresh.load_state_dict(saved["optimizer"])
        train(resumed, fresh, 3, 6)
        same = [torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True)]
        outcomes.append(all(same))
    assert outcomes == [True, False]
