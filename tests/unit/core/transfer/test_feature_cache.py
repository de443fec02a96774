"""A frozen backbone's features are cached only if the head alone then gives the network's bits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP
from nnrun.components.models.resnet18 import ResNet18
from nnrun.components.models.vgg import VGG
from nnrun.core.batches import SplitBatches
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.data import Split
from nnrun.core.seams.world import World
from nnrun.core.transfer.feature_cache import (
    Features,
    Shortcut,
    compute_features,
    features_of,
    tail_of,
    why_not_separable,
)
from nnrun.core.transfer.freezing import Freezing, frozen_names

SEPARABLE = {
    "cnn": (lambda: CNN((1, 12, 12), 3, [2, 3], 5, 0.5, batchnorm=True), "head", (1, 12, 12), ["Linear"]),
    "mlp": (lambda: MLP((4,), 3), "head", (4,), ["Linear"]),
    "vgg": (lambda: VGG((1, 8, 8), 3, [2, 4], dropout=0.5), "head.linear", (1, 8, 8), ["Dropout", "Linear"]),
    "resnet18": (lambda: ResNet18((1, 8, 8), 3), "fc", (1, 8, 8), ["Linear"]),
    "mobilenet": (
        lambda: models.mobilenet_v3_small(num_classes=3),
        "classifier.3",
        (3, 16, 16),
        ["Hardswish", "Dropout", "Linear"],
    ),
}


def frozen(network: nn.Module, head: str) -> nn.Module:
    Freezing(frozen_names(network, "backbone", head)).apply(network, 0)
    return network


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_tail_on_features_gives_the_networks_scores_to_the_bit(name: str) -> None:
    make, head, shape, kinds = SEPARABLE[name]
    torch.manual_seed(0)
    network, inputs = frozen(make(), head), torch.randn(4, *shape)
    tail = tail_of(network, head)
    assert [type(module).__name__ for module in tail] == kinds
    modes = [module.training for module in network.modules()]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert why_not_separable(network, tail, inputs, 4) is None
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    shortcut, features = Shortcut(network, head), features_of(network, tail, inputs)
    torch.manual_seed(5)
    whole = shortcut(inputs)
    torch.manual_seed(5)
    assert torch.equal(shortcut(Features(features)), whole), "dropout in the tail draws as it does in the network"


class Noisy(nn.Module):
    """A network whose features are random in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(functional.dropout(self.body(inputs), 0.5, self.training))


class Twice(Noisy):
    """A network whose head is not last."""

    def forward(self, inputs):
        return self.head(self.body(inputs)) * 2


class Sociable(Noisy):
    """A network whose features of a sample depend on the others."""

    def forward(self, inputs):
        hidden = self.body(inputs)
        return self.head(hidden - hidden.mean(0))


class Flat(Noisy):
    """A network whose head does not take a row per sample."""

    def forward(self, inputs):
        return self.head(self.body(inputs).view(-1, 2, 4)).flatten(0, 1)


@pytest.mark.parametrize(
    ("make", "head", "shape", "reason"),
    [
        (Noisy, "head", (4,), "the frozen layers draw random numbers"),
        (Sociable, "head", (4,), "a sample's features depend on the other samples in its batch"),
        (Twice, "head", (4,), "other computations follow the head"),
        (Flat, "head", (4,), "the head's input is not one tensor with a row per sample"),
        (
            lambda: models.squeezenet1_1(num_classes=3),
            "classifier.1",
            (3, 32, 32),
            "other computations follow the head",
        ),
    ],
)
def test_other_networks_are_not_separated_and_the_reason_is_known(make, head: str, shape, reason: str) -> None:
    network = frozen(make(), head)
    with torch.no_grad():
        assert why_not_separable(network, tail_of(network, head), torch.randn(4, *shape), 4) == reason


class OfTwo(nn.Module):
    """A network with two named input tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.age = nn.Linear(6, 4), nn.Linear(1, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.head(torch.cat([self.image(inputs["image"].flatten(1)), self.age(inputs["age"])], dim=1).relu())


def test_a_network_of_several_inputs_is_separated_too() -> None:
    network = frozen(OfTwo(), "head")
    inputs = {"image": torch.randn(4, 1, 2, 3), "age": torch.randn(4, 1)}
    tail = tail_of(network, "head")
    assert why_not_separable(network, tail, inputs, 4) is None
    features = features_of(network, tail, inputs)
    assert features is not None
    assert torch.equal(Shortcut(network, "head")(Features(features)), network(inputs))


@pytest.mark.parametrize("targets", [torch.rand(10, 2), torch.arange(10)])
def test_features_are_kept_with_the_targets_of_their_samples(targets: torch.Tensor) -> None:
    inputs = {"image": torch.randn(10, 1, 2, 3), "age": torch.arange(10.0)[:, None]}
    network = frozen(OfTwo(), "head").eval()
    layout = Layout(torch.device("cpu"))
    batches = SplitBatches(samples_at(Split(inputs, targets), layout), lambda raw: raw, 4, 3)
    state = SimpleNamespace(network=network, device=torch.device("cpu"), world=World())
    made = compute_features(state, "head", batches, lambda: None)  # type: ignore[arg-type]
    assert torch.equal(made.targets, targets)
    torch.testing.assert_close(made.inputs, features_of(network, tail_of(network, "head"), inputs))
