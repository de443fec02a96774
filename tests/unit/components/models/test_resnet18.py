"""ResNet-18 against torchvision's: the same names, the same weights of a seed, the same outputs and gradients."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision import models

from nnrun.components.models.resnet18 import ResNet18
from support.command_line import environment


def torchvisions(channels: int, num_classes: int, small: bool) -> nn.Module:
    """torchvision's network, its stem replaced as a checkpoint of earlier versions has it."""
    torch.manual_seed(7)
    network = models.resnet18(num_classes=num_classes)
    size, stride, padding = (3, 1, 1) if small else (7, 2, 3)
    network.conv1 = nn.Conv2d(channels, 64, size, stride, padding, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        network.maxpool = nn.Identity()
    return network


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 64), (3, 80)])
@pytest.mark.parametrize("is_last", [False, True], ids=["plain", "channels_last"])
def test_it_is_torchvisions_to_the_bit(channels: int, size: int, is_last: bool) -> None:
    """Negative control: with other weights the outputs are others."""
    theirs = torchvisions(channels, 5, small=size <= 64)
    torch.manual_seed(7)
    ours = ResNet18((channels, size, size), 5)
    torch.manual_seed(0)
    inputs = torch.randn(3, channels, size, size)
    found = []
    for network in (ours, theirs):
        if is_last:
            network.to(memory_format=torch.channels_last)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        trained = network.train()(inputs)
        trained.square().sum().backward()
        gradients = [weight.grad for weight in network.parameters()]
        found.append([trained, network.eval()(inputs), *gradients, *network.state_dict().values()])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert all(torch.equal(our, their) for our, their in zip(*found, strict=True))
    other = ResNet18((channels, size, size), 5)
    assert not torch.equal(other.eval()(inputs), found[0][1])


def test_the_stem_can_be_named_and_published_weights_fit() -> None:
    assert isinstance(ResNet18((3, 32, 32), 5, stem="imagenet").maxpool, nn.MaxPool2d)
    assert isinstance(ResNet18((3, 224, 224), 5, stem="small").maxpool, nn.Identity)
    ours, theirs = ResNet18((3, 224, 224), 1000), models.resnet18()
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(1, 3, 96, 96)
    assert torch.equal(ours.eval()(inputs), theirs.eval()(inputs))


def test_torchvision_is_not_imported() -> None:
    """It takes as long as torch itself. Negative control: `models.torchvision` imports it."""
    code = """
import sys
from nnrun.components.models.resnet18 import ResNet18
ResNet18((3, 32, 32), 5)
before = "torchvision" in sys.modules
import nnrun.components.models.torchvision
print(before, "torchvision" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.stdout == "False True\n", done.stderr
