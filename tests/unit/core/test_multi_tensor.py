"""Many tensors at once: copied, saved and restored; and an optimizer's step that is undone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnrun.components.optimizers.muon import MuonWithAdamW
from nnrun.core.multi_tensor import Snapshot, copy_all
from nnrun.core.step_if import can_be_undone, step_and_undo_unless

NAN = float("nan")


def mixed_tensors() -> list[torch.Tensor]:
    kernels = torch.randn(3, 2, 4, 5).contiguous(memory_format=torch.channels_last)
    return [kernels, torch.randn(7).half(), torch.tensor(3), torch.randn(0, 2), torch.randn(4, 6).t(), torch.randn(())]


def test_copy_all_copies_every_type_and_shape():
    targets, sources = mixed_tensors(), mixed_tensors()
    copy_all(targets, sources)
    assert all(torch.equal(*pair) for pair in zip(targets, sources, strict=True))
    copy_all([], [])


@pytest.mark.parametrize("good", [True, False])
def test_a_snapshot_puts_back_what_was_there(good):
    tensors = mixed_tensors()
    before = [tensor.clone() for tensor in tensors]
    snapshot = Snapshot(tensors)
    for tensor in tensors:
        tensor.fill_(NAN if tensor.is_floating_point() else 9)
    changed = [tensor.clone() for tensor in tensors]
    snapshot.put_back_unless(torch.tensor(good), tensors)
    for tensor, expected in zip(tensors, changed if good else before, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=0, atol=0, equal_nan=True)
    assert tensors[0].is_contiguous(memory_format=torch.channels_last)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 4)).to(memory_format=torch.channels_last)


def give_gradients(net: nn.Module, value: float | None = None) -> None:
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter) if value is None else torch.full_like(parameter, value)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        torch.optim.Adagrad,
        lambda p: torch.optim.Muon([q for q in p if q.dim() == 2]),
    ],
)
@pytest.mark.parametrize("good", [True, False])
def test_a_step_that_is_taken_back_leaves_no_trace(make, good):
    """Negative control: a good step is made. (Adagrad's step counts are on the host here.)"""
    net = network()
    optimizer = make(list(net.parameters()))
    give_gradients(net)
    optimizer.step()
    assert can_be_undone(optimizer)
    give_gradients(net, 0.5 if good else NAN)
    reference = copy.deepcopy((net, optimizer.state_dict()["state"]))
    step_and_undo_unless(torch.tensor(good), optimizer)
    weights = [torch.equal(*pair) for pair in zip(net.parameters(), reference[0].parameters(), strict=True)]
    assert all(weights) is not good
    if not good:
        for ours, theirs in zip(optimizer.state_dict()["state"].values(), reference[1].values(), strict=True):
            assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if value is not None)


def test_what_a_step_changes_must_be_known():
    class Own(torch.optim.SGD):
        """A custom optimizer may keep state where we do not look."""

    net = network()
    give_gradients(net)
    assert not can_be_undone(Own(net.parameters(), lr=0.1))
    first = torch.optim.RMSprop(net.parameters())
    assert not can_be_undone(first), "before its first step it has no state to keep"
    first.step()
    assert can_be_undone(first)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", [True, False])
def test_muon_takes_the_flags_of_a_gradient_scaler(scaled, first, bad):
    """A skipped step leaves no trace, even the first; a step that is made equals the one without flags."""
    net, plain = network(), network()
    optimizer, reference = (MuonWithAdamW(each.parameters()) for each in (net, plain))
    assert optimizer._step_supports_amp_scaling is True
    steps = [] if first else [None]
    for value in [*steps, NAN if bad else 0.25]:
        give_gradients(net, 0.5 if value is None else value)
        give_gradients(plain, 0.5 if value is None else value)
        if value is None or not bad:
            reference.step()
        if value is None:
            optimizer.step()
    if scaled:
        for parameter in net.parameters():
            parameter.grad.mul_(8)
    optimizer.grad_scale = torch.tensor(8.0) if scaled else None
    optimizer.found_inf = torch.tensor(float(bad))
    optimizer.step()
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    for state in optimizer.state.values():
        for value in state.values():
            assert torch.isfinite(value).all()
