"""Muon beside AdamW: the same updates as the two of them apart, seen from outside as one optimizer."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon
from torch.optim.lr_scheduler import StepLR

from nnrun.components.optimizers.muon import MuonWithAdamW

ONLY_MATRICES = [(4, 3), (3, 5)]
NO_MATRIX = [(4,), (2, 1, 3, 3)]
MIXED = [*ONLY_MATRICES, *NO_MATRIX]


def make_params(shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def set_gradients(params: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)


def same_bits(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shapes", [MIXED, ONLY_MATRICES, NO_MATRIX])
def test_equals_the_two_optimizers_apart(shapes):
    ours, theirs = make_params(shapes), make_params(shapes)
    optimizer = MuonWithAdamW(
        ours,
        lr=0.03,
        momentum=0.9,
        nesterov=False,
        weight_decay=0.1,
        ns_steps=4,
        adamw_lr=0.002,
        adamw_betas=(0.8, 0.99),
        adamw_eps=1e-6,
        adamw_weight_decay=0.2,
    )
    apart = []
    if shapes is not NO_MATRIX:
        matrices = [param for param in theirs if param.ndim == 2]
        apart.append(Muon(matrices, lr=0.03, momentum=0.9, nesterov=False, weight_decay=0.1, ns_steps=4))
    if shapes is not ONLY_MATRICES:
        others = [param for param in theirs if param.ndim != 2]
        apart.append(AdamW(others, lr=0.002, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.2, fused=True))
    for step in range(4):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step()
        for other in apart:
            other.step()
    assert same_bits(ours, theirs)
    assert not same_bits(ours, make_params(shapes))


def test_no_parameters_is_refused_as_by_torch():
    with pytest.raises(ValueError, match="empty parameter list"):
        MuonWithAdamW([])


def test_a_further_group_is_refused():
    optimizer = MuonWithAdamW(make_params(MIXED))
    with pytest.raises(AssertionError, match="no further parameter groups"):
        optimizer.add_param_group({"params": make_params([(2,)])})


def test_the_groups_are_muon_then_adamw_each_with_its_own_rate():
    first, second = MuonWithAdamW(make_params(MIXED), lr=0.5, adamw_lr=0.25).param_groups
    assert (first["lr"], [param.ndim for param in first["params"]]) == (0.5, [2, 2])
    assert (second["lr"], [param.ndim for param in second["params"]]) == (0.25, [1, 4])


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("group", [0, 1])
def test_a_rate_set_from_outside_counts_also_after_loading(loaded, group):
    """Negative control: were the groups copies, the parameters of a group with rate 0 would move like the others."""
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params)
    if loaded:
        set_gradients(params, 0)
        optimizer.step()
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.param_groups[group]["lr"] = 0.0
    before = [param.detach().clone() for param in params]
    set_gradients(params, 1)
    optimizer.step()
    moved = [not torch.equal(param, old) for param, old in zip(params, before, strict=True)]
    assert moved == [group == 1, group == 1, group == 0, group == 0]


@pytest.mark.filterwarnings("error")
def test_works_with_a_scheduler_of_torch():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params, lr=0.5, adamw_lr=0.25)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.5)
    set_gradients(params, 0)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]


def test_grad_scaler_unscales_both_and_skips_both_where_a_gradient_is_infinite():
    """Negative control: AdamW's fused kernel looks for the scale on itself, where nobody sets it."""
    ours, theirs = make_params(MIXED), make_params(MIXED)
    optimizer, plain = MuonWithAdamW(ours), MuonWithAdamW(theirs)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(sum((param**2).sum() for param in ours)).backward()
    sum((param**2).sum() for param in theirs).backward()
    scaler.step(optimizer)
    scaler.update()
    plain.step()
    assert same_bits(ours, theirs)
    optimizer.zero_grad()
    scaler.scale(sum((param**2).sum() for param in ours)).backward()
    ours[-1].grad[0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert same_bits(ours, theirs)
    assert scaler.get_scale() == 512.0


def test_step_returns_what_the_closure_returns_and_gives_it_gradients():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sum((param**2).sum() for param in params)
        loss.backward()
        return loss

    assert optimizer.step(closure) > optimizer.step(closure)


def test_zero_grad_clears_both():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params)
    set_gradients(params, 0)
    optimizer.zero_grad()
    assert all(param.grad is None for param in params)


def test_parameters_without_a_gradient_stay():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params, weight_decay=0.5, adamw_weight_decay=0.5)
    optimizer.step()
    assert same_bits(params, make_params(MIXED))


def test_state_is_numbered_through_and_holds_only_what_weights_only_takes():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params)
    set_gradients(params, 0)
    optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2, 3]]
    assert [sorted(state["state"][index]) for index in range(4)] == [["momentum_buffer"]] * 2 + [
        ["exp_avg", "exp_avg_sq", "step"]
    ] * 2


def test_a_deep_copy_trains_on_by_itself():
    params = make_params(MIXED)
    optimizer = MuonWithAdamW(params)
    for step in range(2):
        set_gradients(params, step)
        optimizer.step()
    twin = copy.deepcopy(optimizer)
    twins = [param for group in twin.param_groups for param in group["params"]]
    for copies, one in ((params, optimizer), (twins, twin)):
        set_gradients(copies, 2)
        one.step()
    assert same_bits(params, twins)


def test_muon_updates_the_matrices_of_each_group_at_the_groups_rate() -> None:
    """Negative control: were the groups mixed up, a group with rate 0 would move."""
    torch.manual_seed(0)
    first, second = ([nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(3))] for _ in range(2))
    optimizer = MuonWithAdamW([{"params": first, "weight_decay": 0.0}, {"params": second}], weight_decay=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.1, 0.0, 0.0]
    for group in optimizer.param_groups:
        if group["params"][0] in set(second):
            group["lr"] = 0.0
    before = [param.detach().clone() for param in (*first, *second)]
    for param in (*first, *second):
        param.grad = torch.randn_like(param)
    optimizer.step()
    assert [torch.equal(*pair) for pair in zip(before, (*first, *second), strict=True)] == [False, False, True, True]
