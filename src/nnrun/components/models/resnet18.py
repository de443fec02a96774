"""ResNet-18, for photographs and for small images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.resnet import BasicBlock, ResNet

from nnrun.components.models.adapting import check_image_shape
from nnrun.components.models.torchvision import Published, published

# Images up to this height and width would be down to a pixel before the third of ImageNet's five halvings.
SMALL_IMAGE = 64


class ResNet18(ResNet):
    """torchvision's ResNet-18 (He et al. 2016, arXiv 1512.03385), with the same names in its state dict.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `stem="imagenet"` begins with a convolution of 7x7 and a
    pool, which make a quarter of the height and width; `stem="small"` with one of 3x3 alone, as the paper does on
    CIFAR; `auto` takes the small one for images up to 64x64.
    """

    def __init__(
        self, in_shape: Sequence[int], num_classes: int, stem: Literal["auto", "imagenet", "small"] = "auto"
    ) -> None:
        check_image_shape(in_shape, "resnet18")
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
        channels, *image = in_shape
        is_small = stem == "small" or (stem == "auto" and max(image) <= SMALL_IMAGE)
        # Made anew for every number of channels, so that it is drawn as the others are.
        self.conv1 = nn.Conv2d(
            channels, 64, 3 if is_small else 7, 1 if is_small else 2, 1 if is_small else 3, bias=False
        )
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        if is_small:
            self.maxpool = nn.Identity()  # type: ignore[assignment]

    @staticmethod
    def published_weights(parameters: Mapping[str, Any]) -> Published:
        """Return the weights that torchvision publishes; they have the stem of ImageNet."""
        return published(ResNet18_Weights.DEFAULT)

    def forward(self, inputs: Tensor) -> Tensor:
        return self._forward_impl(inputs)
