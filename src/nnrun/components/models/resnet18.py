"""ResNet-18, for photographs and for small images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.components.models.adapting import check_image_shape

if TYPE_CHECKING:
    from nnrun.components.models.torchvision import Published

# Up to this height and width the small stem is used: ImageNet's five halvings would leave too few pixels.
SMALL_IMAGE = 64


class ResNet18(nn.Module):
    """torchvision's ResNet-18 (He et al. 2016, arXiv 1512.03385): same parameter names, initial weights and outputs.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `stem="imagenet"` starts with a 7x7 convolution and a
    max pool, which reduce height and width to a quarter; `stem="small"` starts with a 3x3 convolution only, as in the
    paper's CIFAR networks; `auto` uses the small one for images up to 64x64.
    """

    def __init__(
        self, in_shape: Sequence[int], num_classes: int, stem: Literal["auto", "imagenet", "small"] = "auto"
    ) -> None:
        check_image_shape(in_shape, "resnet18")
        super().__init__()
        # Layers are built and initialized in torchvision's order, so that a seed gives the same weights.
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
        # Rebuilt for any number of channels, so that it is initialized like the other convolutions.
        self.conv1 = _draw(nn.Conv2d(channels, 64, size, stride, padding, bias=False))
        if is_small:
            self.maxpool = nn.Identity()

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights that torchvision publishes; they have the ImageNet stem."""
        from torchvision.models import ResNet18_Weights  # noqa: PLC0415 - takes seconds; only these weights need it

        from nnrun.components.models.torchvision import published  # noqa: PLC0415 - as above

        return published(ResNet18_Weights.DEFAULT)

    @staticmethod
    def trained_on(parameters: Mapping[str, Any], file: str | None) -> TrainedOn:
        """Return the input that torchvision's weights were trained on, copied from its transforms (slow to import)."""
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return TrainedOn("torchvision's ResNet18_Weights.IMAGENET1K_V1", (224, 224), mean, std, 1000)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.maxpool(self.relu(self.bn1(self.conv1(inputs))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(self.avgpool(features).flatten(1))


class Block(nn.Module):
    """Two 3x3 convolutions with a residual connection, which is projected if the sizes differ."""

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
    """Return two blocks; the first changes the number of channels and the size."""
    projection = None
    if stride != 1:
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(Block(inputs, outputs, stride, projection), Block(outputs, outputs, 1, None))


def _draw(convolution: nn.Conv2d) -> nn.Conv2d:
    """Initialize a convolution in place, and return it (He et al. 2015; fan-out keeps the variance of gradients)."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
