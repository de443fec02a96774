"""A stacked network computes what each of its networks computes alone: outputs, gradients, buffers and draws."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP
from nnrun.sweeps.stack.network import CannotStack, StackedNetwork

NETWORKS = {
    "mlp": lambda rate: MLP((1, 12, 12), 3, [16, 8], rate),
    "cnn with BatchNorm": lambda rate: CNN((1, 12, 12), 3, (4, 6), 16, rate, batchnorm=True),
    "tokens": lambda rate: nn.Sequential(nn.Linear(12, 8), nn.Dropout2d(rate), nn.Flatten(2), nn.Linear(96, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stacked_network_computes_what_each_does_alone(name: str) -> None:
    torch.manual_seed(0)
    together = [NETWORKS[name](rate).double() for rate in (0.0, 0.3, 0.5)]
    alone, inputs = copy.deepcopy(together), torch.randn(3, 5, 1, 12, 12, dtype=torch.float64)
    targets = torch.arange(5) % 3

    def loss(outputs: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs.flatten(0, -2), targets)

    for seed, (network, own) in enumerate(zip(alone, inputs, strict=True)):
        torch.manual_seed(seed)
        loss(network(own)).backward()
    stacked = StackedNetwork(together[0], inputs[0])
    parts, draws = [stacked.part(network) for network in together], []
    for seed, part in enumerate(parts):
        torch.manual_seed(seed)
        draws.append(stacked.draw(part))
    # The order of the jobs does not matter: the last two, then the first.
    for rows in ([2, 1], [0]):
        outputs = stacked([parts[row] for row in rows], [draws[row] for row in rows], [inputs[row] for row in rows])
        torch.stack([loss(each) for each in outputs]).sum().backward()
    for ours, theirs in zip(together, alone, strict=True):
        for (key, tensor), other in zip(
            ours.state_dict(keep_vars=True).items(), theirs.state_dict(keep_vars=True).values(), strict=True
        ):
            torch.testing.assert_close(tensor, other, msg=key)
            assert (tensor.grad is None) == (other.grad is None)
            if tensor.grad is not None:
                torch.testing.assert_close(tensor.grad, other.grad, atol=1e-12, rtol=1e-9, msg=key)


def test_a_network_that_calls_a_dropout_twice_is_not_stacked() -> None:
    drop = nn.Dropout(0.5)
    with pytest.raises(CannotStack, match="the network calls 1 several times"):
        StackedNetwork(nn.Sequential(nn.Linear(2, 2), drop, nn.Linear(2, 2), drop), torch.randn(3, 2))


def test_kept_weights_are_rows_with_a_storage_of_their_own_and_receive_the_same_gradients() -> None:
    torch.manual_seed(0)
    networks, inputs = [NETWORKS["mlp"](0.0) for _ in range(3)], torch.randn(3, 5, 1, 12, 12)
    others, gradients = copy.deepcopy(networks), list[list[Tensor | None]]()
    for each, keeps in ((networks, True), (others, False)):
        stacked = StackedNetwork(each[0], inputs[0])
        parts = [stacked.part(one) for one in each]
        stacked.keep(parts if keeps else [])
        stacked(parts, [stacked.draw(part) for part in parts], list(inputs)).square().sum().backward()
        stacked.hand_out()
        gradients.append([it.grad for one in each for it in one.parameters()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*gradients, strict=True))
    # A checkpoint holds the whole storage of a tensor.
    assert all(it.untyped_storage().nbytes() == it.nbytes for one in networks for it in one.parameters())
    # A change of a network is one of the stack.
    with torch.no_grad():
        next(networks[1].parameters()).zero_()
    kept = StackedNetwork(networks[0], inputs[0])
    kept.keep(parts := [kept.part(one) for one in networks])
    before = kept(parts, [kept.draw(part) for part in parts], list(inputs))
    with torch.no_grad():
        next(networks[1].parameters()).add_(1.0)
    after = kept(parts, [kept.draw(part) for part in parts], list(inputs))
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False, True]
