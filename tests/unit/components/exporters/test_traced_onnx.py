"""A network is traced where one call tells all of it; everything else is left to torch's newer exporter."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import Tensor, nn

from nnrun.components.exporters.traced_onnx import traced, traced_by_sizes
from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP
from nnrun.components.models.resnet18 import ResNet18
from nnrun.components.models.vgg import VGG
from support.command_line import environment

IMAGES = torch.zeros(2, 1, 16, 16)


class OneWay(nn.Module):
    """A network whose only way does not depend on the data."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.reshape(inputs.shape[0], -1) * 2


class TwoWays(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs if inputs.sum() > 0 else -inputs


class DecidesBySize(nn.Module):
    """A network that decides by the size of an image, which a trace warns of; with `least`, by the number of images."""

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least = least

    def forward(self, inputs: Tensor) -> Tensor:
        few = inputs.shape[0] < self.least
        return inputs * 3 if few or inputs.shape[-1] % 8 else inputs * 2


class CountsOnTheHost(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.ones(len(inputs), 1, 1, 1)


class DecidesInSilence(nn.Module):
    """Which way is taken depends on the data, and no warning of that gets out."""

    def forward(self, inputs: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return inputs if inputs.sum() > 0 else -inputs


class DecidesByEqual(nn.Module):
    """The same, and the tracer does not warn of it."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs if torch.equal(inputs, inputs.abs()) else inputs * 2


class DividesWholeNumbers(nn.Module):
    """-1 // 2 is -1, and traced it would be 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * (inputs.long() // 2)


class Fails(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return torch.linalg.eigvals(inputs).real


@pytest.mark.parametrize("kind", [CNN, MLP, VGG, ResNet18])
def test_networks_that_ship_are_traced_with_a_dynamic_batch(kind: type[nn.Module]) -> None:
    model = traced(kind((1, 16, 16), 3).eval(), IMAGES, ["input"], "scores", None)
    assert model is not None
    (given,), (output,) = model.graph.input, model.graph.output
    assert (given.name, output.name) == ("input", "scores")
    assert [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim] == ["batch", 1, 16, 16]
    assert output.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [entry.version for entry in model.opset_import] == [20]


@pytest.mark.parametrize(
    "kind", [TwoWays, DecidesInSilence, DecidesByEqual, DividesWholeNumbers, CountsOnTheHost, Fails]
)
def test_what_a_trace_may_not_tell_is_left_to_the_other(kind: type[nn.Module]) -> None:
    """A trace would take the way of the example, or its number of samples, for every batch."""
    assert traced(kind().eval(), IMAGES, ["input"], "scores", None) is None
    assert traced(OneWay().eval(), IMAGES, ["input"], "scores", None) is not None, "the negative control"


def test_decisions_by_the_size_of_images_are_traced_if_they_are_the_same_for_any_batch() -> None:
    given = (IMAGES, ["input"], "scores", None, [{0: "batch"}])
    assert traced(DecidesBySize().eval(), *given) is None
    model = traced_by_sizes(DecidesBySize().eval(), *given)
    assert model is not None
    assert [node.op_type for node in model.graph.node].count("Mul") == 1
    assert traced_by_sizes(DecidesBySize(2).eval(), *given) is None, "one image would be multiplied by another number"
    assert traced_by_sizes(TwoWays().eval(), *given) is None
    assert traced_by_sizes(DecidesBySize().eval(), *given[:-1], [{0: "batch", 3: "width"}]) is None


def test_several_tensors_and_newer_versions_are_left_to_the_other() -> None:
    network = OneWay().eval()
    assert traced(network, {"a": IMAGES, "b": IMAGES}, ["a", "b"], "scores", None) is None
    assert traced(network, IMAGES, ["input"], "scores", 21) is None
    model = traced(network, IMAGES, ["input"], "scores", 18)
    assert model is not None
    assert [entry.version for entry in model.opset_import] == [18]


def test_a_trace_imports_no_compiler() -> None:
    code = """
import sys, torch
from nnrun.components.exporters.traced_onnx import traced
from nnrun.components.models.mlp import MLP
assert traced(MLP((4,), 2).eval(), torch.zeros(2, 4), ["input"], "scores", None) is not None
print([name for name in ("torch._dynamo", "sympy", "onnxscript", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.stdout == "[]\n", done.stderr
