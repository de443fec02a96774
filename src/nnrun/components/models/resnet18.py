"""ResNet-18, for photographs and for small images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from nnrun.components.models.adapting import TrainedOn, check_image_shape

if TYPE_CHECKING:
    from nnrun.components.models.torchvision import Published

# Images up to this height and width would be down to a pixel before the third of ImageNet's five halvings.
SMALL_IMAGE = 64


class ResNet18(nn.Module):
    """torchvision's ResNet-18 (He et al. 2016, arXiv 1512.03385): its names, its initial weights, its outputs.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `stem="imagenet"` begins with a convolution of 7x7 and a
    pool, which make a quarter of the height and width; `stem="small"` with one of 3x3 alone, as the paper does on
    CIFAR; `auto` takes the small one for images up to 64x64.
    """

    def __init__(
        self, in_shape: Sequence[int], num_classes: int, stem: Literal["auto", "imagenet", "small"] = "auto"
    ) -> None:
        check_image_shape(in_shape, "resnet18")
        super().__init__()
        # The layers are made, and their weights drawn, in torchvision's order: a seed gives the same weights.
        self.conv1: nn.Module = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module)
        channels, *image = in_shape
        is_small = stem == "small" or (stem == "auto" and max(image) <= SMALL_IMAGE)
        size, stride, padding = (3, 1, 1) if is_small else (7, 2, 3)
        # Made anew for every number of channels, so that it is drawn as the others are.
        self.conv1 = _draw(nn.Conv2d(channels, 64, size, stride, padding, bias=False))
        if is_small:
            self.maxpool = nn.Identity()

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights that torchvision publishes; they have the stem of ImageNet."""
        from torchvision.models import ResNet18_Weights  # noqa: PLC0415 - it takes seconds, and only they need it

        from nnrun.components.models.torchvision import published  # noqa: PLC0415 - as above

        return published(ResNet18_Weights.DEFAULT)

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn:
        """Return what torchvision's weights were trained on, as its transforms say, which take seconds to import."""
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return TrainedOn("torchvision's ResNet18_Weights.IMAGENET1K_V1", (224, 224), mean, std, 1000)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.maxpool(self.relu(self.bn1(self.conv1(inputs))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(self.avgpool(features).flatten(1))


class Block(nn.Module):
    """Two convolutions of 3x3, whose result is added to their input, or to its projection where the sizes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int, projection: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = projection

    def forward(self, inputs: Tensor) -> Tensor:
        change = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inputs)))))
        change += inputs if self.downsample is None else self.downsample(inputs)
        return self.relu(change)


def _stage(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return two blocks, the first of which changes the number of channels and the size."""
    projection = None
    if stride != 1:
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(Block(inputs, outputs, stride, projection), Block(outputs, outputs, 1, None))


def _draw(convolution: nn.Conv2d) -> nn.Conv2d:
    """Draw the weights of a convolution in place: with them gradients keep their spread (He et al. 2015)."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
