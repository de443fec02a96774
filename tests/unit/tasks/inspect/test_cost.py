"""What is measured of a network, to the value, against counts by hand."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP
from nnrun.tasks.inspect.cost import Layer, layer_tree, measure_step, memory_of, num_bytes


def by_name(layer: Layer) -> dict[str, Layer]:
    return {layer.name: layer} | {name: found for child in layer.children for name, found in by_name(child).items()}


def step_of(network: nn.Module, inputs: torch.Tensor):
    return measure_step(network, lambda: network(inputs).square().sum().backward(), inputs)


@pytest.mark.parametrize(("kind", "parameters"), [(MLP, 101_770), (CNN, 225_034)])
def test_parameters_are_counted(kind, parameters):
    root = layer_tree(kind((1, 28, 28), 10))
    assert (root.parameters, root.trainable) == (parameters, parameters)
    assert root.kind == kind.__name__


def test_the_cnns_flops_are_those_of_a_count_by_hand():
    """A multiply-add is two. Backward: twice that, but for the gradient of the images, which nobody asks for."""
    convolutions = (2 * 26 * 26 * 32 * 9, 2 * 11 * 11 * 64 * 9 * 32)
    products = (2 * 1600 * 128, 2 * 128 * 10)
    cost = step_of(CNN((1, 28, 28), 10), torch.rand(4, 1, 28, 28))
    layers = by_name(cost.root)
    names = ("features.0.conv", "features.1.conv", "hidden.linear", "head")
    assert [layers[name].flops for name in names] == [4 * flops for flops in (*convolutions, *products)]
    forward = 4 * (sum(convolutions) + sum(products))
    assert (cost.forward_flops, cost.backward_flops) == (forward, 2 * forward - 4 * convolutions[0])


def test_shapes_calls_and_what_is_not_called():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.idle, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.again = self.shared

        def forward(self, inputs):
            return self.head(self.again(self.shared(inputs)))

    layers = by_name(step_of(Net(), torch.rand(5, 6)).root)
    assert layers[""].parameters == 42 + 42 + 14
    assert (layers["shared"].calls, layers["again"].calls, layers["idle"].calls) == (2, 2, 0)
    assert layers["shared"].flops == 2 * 2 * 5 * 6 * 6
    assert layers["head"].output_shape == [5, 2]
    assert layers["idle"].output_shape is None


def test_frozen_parameters_do_not_count_as_trainable():
    network = CNN((1, 28, 28), 10)
    network.features.requires_grad_(False)
    layers = by_name(layer_tree(network))
    assert (layers[""].parameters, layers[""].trainable) == (225_034, 225_034 - 18_816)
    assert (layers["features"].trainable, layers["head"].trainable) == (0, 1290)


def test_memory_is_that_of_the_tensors():
    """Activations by hand: what the ReLU gives is kept by it and by the next layer, once. Adam keeps two moments."""
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2), nn.BatchNorm1d(2))
    inputs = torch.rand(16, 6)
    optimizer = torch.optim.Adam(network.parameters())
    cost = measure_step(network, lambda: network(inputs).sum().backward(), inputs)
    optimizer.step()
    memory = memory_of(network, optimizer, None, inputs, cost.activation_bytes)
    weights = 6 * 8 + 8 + 8 * 2 + 2 + 2 + 2
    assert memory.gradients == 4 * weights
    # running mean and variance in fp32, the number of batches in int64
    assert memory.weights == 4 * weights + 2 * 2 * 4 + 8
    assert memory.optimizer == 2 * 4 * weights + 6 * 4
    assert memory.batch == 16 * 6 * 4
    # ReLU's output; BatchNorm's input, mean and deviation
    assert memory.activations == 4 * (16 * 8 + 16 * 2 + 2 + 2)
    assert (
        memory.total == num_bytes([inputs]) + memory.weights + memory.gradients + memory.optimizer + memory.activations
    )


def test_measuring_changes_no_gradient():
    """Negative control: another batch gives another gradient."""
    network, inputs = MLP((1, 6, 6), 3, [5], 0.0), torch.rand(4, 36)
    step_of(network, inputs)
    measured = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(inputs).square().sum().backward()
    assert all(
        torch.equal(ours, parameter.grad) for ours, parameter in zip(measured, network.parameters(), strict=True)
    )
    network.zero_grad()
    network(2 * inputs).square().sum().backward()
    assert not torch.equal(measured[0], next(network.parameters()).grad)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_in_groups_costs_its_own_products_and_twice_that_backward(kind, groups):
    """Negative control: torch's own count of the backward pass is another in groups."""
    network = nn.Sequential(nn.Conv2d(2, 8, 1), kind(8, 12, 3, groups=groups))
    cost = step_of(network, torch.rand(3, 2, 6, 6))
    first = 2 * 3 * 6 * 6 * 2 * 8
    positions = 4 * 4 if kind is nn.Conv2d else 6 * 6
    second = 2 * 3 * positions * 8 * 12 * 9 // groups
    assert cost.forward_flops == first + second
    assert cost.backward_flops == first + 2 * second
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(3, 2, 6, 6)).sum().backward()
    assert (counter.get_total_flops() == 2 * first + 3 * second) is (groups == 1)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_tensor_changed_in_place_is_found_as_a_run_finds_it(in_place):
    """Negative control: with a copy in its place the step goes well."""

    class Net(nn.Sequential):
        def forward(self, inputs):
            hidden = self[0](inputs).exp()
            hidden = hidden.add_(1) if in_place else hidden + 1
            return self[1](hidden)

    network = Net(nn.Linear(6, 3), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="in-place") if in_place else contextlib.nullcontext():
        step_of(network, torch.rand(4, 6))
