"""TabM: each member is a perceptron of its own that shares the matrices."""

from __future__ import annotations

import torch

from nnrun.components.models.tabm import TabM

TABLE = {"numbers": 2, "flags": 0, "bins": 3, "categories": []}


def test_a_member_is_a_perceptron_with_scaled_weights() -> None:
    torch.manual_seed(0)
    network = TabM(TABLE, 2, members=3, hidden=[5], dropout=0.0)
    inputs = {"numbers": torch.randn(4, 2), "bins": torch.rand(4, 2, 3)}
    found = network(inputs)
    layer = network.hidden[0]
    for member in range(3):
        weight = layer.outputs[member][:, None] * layer.weight * layer.inputs[member]
        hidden = (network.columns(inputs) @ weight.T + layer.bias[member]).relu()
        torch.testing.assert_close(found["members"][:, member], hidden @ network.head[member] + network.bias[member])
    torch.testing.assert_close(found["scores"], found["members"].mean(1))
    torch.testing.assert_close(network.eval()(inputs), found["scores"])
    assert set(layer.inputs.flatten().tolist()) == {-1.0, 1.0}, "the members differ from the first step on"
