"""Networks of torchvision and timm: any channels, any head, the same in training as in evaluation, no other names."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from nnrun.assembly.instantiate import build, check_targets
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.components.models.resnet18 import ResNet18
from nnrun.components.models.timm import Timm
from nnrun.components.models.torchvision import Torchvision

# A name, the least size that is quick, and the head with its inputs.
NETWORKS = [
    (Torchvision, "mobilenet_v3_small", 16, "classifier.3"),
    (Torchvision, "squeezenet1_1", 32, "classifier.1"),
    (Torchvision, "shufflenet_v2_x0_5", 16, "fc"),
    (Torchvision, "googlenet", 32, "fc"),
    (Timm, "mobilenetv3_small_050", 16, "classifier"),
    (Timm, "resnet10t", 16, "fc"),
]


@pytest.mark.parametrize(("kind", "name", "size", "head"), NETWORKS)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_takes_any_channels_and_gives_scores_in_both_modes(kind, name, size, head, in_channels) -> None:
    network = kind(name, (in_channels, size, size), 5)
    assert isinstance(network, nn.Module) and network.training
    inputs = torch.randn(2, in_channels, size, size)
    training, evaluation = network(inputs), network.eval()(inputs)
    assert training.shape == evaluation.shape == (2, 5)
    assert network.get_submodule(head).weight.shape[0] == 5
    assert not any(name.startswith(("network.", "module.")) for name in network.state_dict())


def test_the_names_of_weights_are_torchvisions_own() -> None:
    ours = Torchvision("shufflenet_v2_x0_5", (3, 16, 16), 1000).state_dict()
    theirs = models.shufflenet_v2_x0_5().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    resnet = ResNet18((3, 224, 224), 1000).state_dict()
    assert {k: v.shape for k, v in resnet.items()} == {k: v.shape for k, v in models.resnet18().state_dict().items()}


def test_the_first_convolution_keeps_the_spread_of_its_outputs() -> None:
    """Negative control: the weights of three channels, spread as they are over one, would give a third of it."""
    torch.manual_seed(0)
    grey, colour = (Torchvision("mobilenet_v3_small", (n, 16, 16), 2).features[0][0] for n in (1, 3))
    image = torch.randn(64, 3, 16, 16)
    assert grey(image[:, :1]).std().item() == pytest.approx(colour(image).std().item(), rel=0.1)


@pytest.mark.parametrize(
    ("size", "stem", "expected"),
    [(28, "auto", 28), (64, "auto", 64), (65, "auto", 17), (28, "imagenet", 7), (80, "small", 80)],
)
def test_the_stem_of_resnet18_goes_by_the_size_of_the_images(size: int, stem: Any, expected: int) -> None:
    network = ResNet18((1, size, size), 3, stem)
    shapes = []
    network.layer1.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape[-1]))
    assert network.eval()(torch.zeros(1, 1, size, size)).shape == (1, 3)
    assert shapes == [expected]


def test_a_vision_transformer_takes_the_size_of_the_images() -> None:
    section = {"name": "vit_b_32", "in_shape": [3, 64, 64], "num_classes": 4}
    network = build({"_target_": "nnrun.components.models.torchvision.Torchvision", **section}, "model", nn.Module)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


@pytest.mark.parametrize(
    ("kind", "name", "in_shape", "says"),
    [
        (
            Torchvision,
            "alexnet",
            (3, 32, 32),
            r"^alexnet does not take images of 32x32 .*; use a larger data\.image_size",
        ),
        (Torchvision, "vit_b_16", (3, 28, 28), "^vit_b_16 does not take images of 28x28 "),
        (Torchvision, "resnet18", (784,), r"^data\.in_shape is \[784\]; allowed: channels"),
        (Timm, "vit_tiny_patch16_224", (3, 32, 32), "^vit_tiny_patch16_224 does not take images of 32x32 "),
    ],
)
def test_images_that_do_not_suit_are_refused_with_the_reason(kind, name, in_shape, says) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(name, in_shape, 10)


STRANGE = ["../../x", "efficentnet_b0", "hf-hub:someone/net", "local-dir:/tmp", "torch.load", "", 7, ["resnet18"], None]


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize(
    "target", ["nnrun.components.models.torchvision.Torchvision", "nnrun.components.models.timm.Timm"]
)
def test_another_name_is_refused_before_the_data_is_opened(target: str, name: Any, monkeypatch) -> None:
    """And nothing is fetched: there is no network here."""
    monkeypatch.setattr(socket, "socket", None)
    section = {"_target_": target, "name": name, "in_shape": [3, 8, 8], "num_classes": 2}
    tree = {"model": section, "data": {"dataset": {"_target_": "nnrun.components.data.digits.Digits"}}}
    with pytest.raises(ConfigError, match=r"^model\.name is .*allowed: one of \d+ networks of"):
        check_targets(tree, [], [])
    with pytest.raises(ConfigError, match=r"^model\.name is "):
        build(section, "model", nn.Module)
    with pytest.raises(ArtifactError, match="does not ship"):
        check_targets({**tree, "model": {"_target_": "torchvision.models.get_model", "name": "x"}}, [], [])


def test_resnet18_is_scripted_and_not_only_traced():
    network, images = ResNet18((1, 28, 28), 10).eval(), torch.rand(3, 1, 28, 28)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        assert torch.equal(torch.jit.script(network)(images), network(images))
