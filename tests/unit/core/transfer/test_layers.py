"""Where the head of a network is, and how far from it each parameter is: for our networks and for others."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
from torch import nn
from torchvision import models

from nnrun.base.errors import ConfigError
from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP
from nnrun.components.models.resnet18 import ResNet18
from nnrun.core.transfer.layers import distances, find_head

NETWORKS = {
    "head": lambda: CNN((1, 12, 12), 7, [3, 4], 5, batchnorm=True),
    "head ": lambda: MLP((4,), 7),
    "fc": lambda: ResNet18((1, 8, 8), 7),
    "classifier.3": lambda: models.mobilenet_v3_small(num_classes=7),
    "classifier.1": lambda: models.squeezenet1_1(num_classes=7),
    "classifier": lambda: models.densenet121(num_classes=7),
    "heads.head": lambda: models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=7),
    "head  ": lambda: models.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [2, 2], num_classes=7),
    "fc ": lambda: timm.create_model("resnet10t", num_classes=7),
    "head   ": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2),
}


@pytest.mark.parametrize("head", NETWORKS)
def test_the_head_is_the_last_layer_that_gives_a_score_for_each_class(head: str) -> None:
    assert find_head(NETWORKS[head](), 7) == head.strip()


def test_a_head_that_is_not_to_be_seen_is_named_by_the_user() -> None:
    network = nn.ModuleDict({"scores": nn.Linear(4, 7), "decoder": nn.Linear(4, 9), "act": nn.ReLU()})
    with pytest.raises(ConfigError, match=r"decoder, has 9 outputs, but 7 are needed; .* transfer\.head=NAME"):
        find_head(network, 7)
    assert find_head(network, 7, "scores") == "scores"
    with pytest.raises(ConfigError, match=r"transfer\.head=score is not a layer .* did you mean 'scores'\?"):
        find_head(network, 7, "score")
    with pytest.raises(ConfigError, match=r"transfer\.head=act is not a layer of the network with parameters"):
        find_head(network, 7, "act")
    with pytest.raises(ConfigError, match="it has no linear layer"):
        find_head(nn.ReLU(), 7)


def test_distances_are_counted_in_layers_from_the_scores() -> None:
    cnn = distances(CNN((1, 12, 12), 7, [3, 4], 5, batchnorm=True), "head")
    assert {name: far for name, far in cnn.items() if name.endswith("weight")} == {
        "features.0.conv.weight": 3,
        "features.0.norm.weight": 3,
        "features.1.conv.weight": 2,
        "features.1.norm.weight": 2,
        "hidden.linear.weight": 1,
        "hidden.norm.weight": 1,
        "head.weight": 0,
    }


@pytest.mark.parametrize(
    ("make", "head", "expected"),
    [
        # a stem, eight blocks, a head
        (lambda: ResNet18((3, 8, 8), 7), "fc", {"conv1.weight": 9, "bn1.bias": 9, "layer1.0.conv2.weight": 8}),
        (lambda: ResNet18((3, 8, 8), 7), "fc", {"layer4.0.downsample.0.weight": 2, "layer4.1.bn2.bias": 1}),
        # patches, position and class token; two blocks, the second with the norm behind it; a head
        (NETWORKS["heads.head"], "heads.head", {"class_token": 3, "encoder.pos_embedding": 3, "conv_proj.weight": 3}),
        (NETWORKS["heads.head"], "heads.head", {"encoder.layers.encoder_layer_0.ln_1.weight": 2, "encoder.ln.bias": 1}),
        (NETWORKS["heads.head"], "heads.head", {"heads.head.weight": 0}),
    ],
)
def test_distances_in_torchvisions_networks(make, head: str, expected: dict[str, int]) -> None:
    network = make()
    found = distances(network, head)
    assert {name: found[name] for name in expected} == expected
    assert found.keys() == dict(network.named_parameters()).keys()
    assert sorted(Counter(found.values())) == list(range(max(found.values()) + 1)), "no distance is left out"
