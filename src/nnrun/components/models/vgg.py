"""A small VGG-style network: more accurate than the CNN, with about ten times its compute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from nnrun.components.models.adapting import check_image_shape, check_image_size, scaled


class VGG(nn.Module):
    """Stages of padded 3x3 convolutions with BatchNorm and ReLU, pooled between stages; then mean, Dropout, Linear.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. Each of `channels` is a stage of `depth` convolutions
    (Simonyan & Zisserman 2015, arXiv 1409.1556), here with BatchNorm (Ioffe & Szegedy 2015, arXiv 1502.03167), and with
    global average pooling in place of wide Linear layers (Lin et al. 2014, arXiv 1312.4400). `width` is a factor on
    `channels`. Raises ConfigError if `in_shape` is not `(C, H, W)` or an image is too small for the pooling.
    """

    def __init__(  # noqa: PLR0913 - each is a setting in the YAML
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64, 128),
        depth: int = 2,
        dropout: float = 0.0,
        *,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_image_shape(in_shape, "vgg")
        check_image_size(in_shape, 2 ** (len(channels) - 1), channels)
        inputs = in_shape[0]
        self.features = nn.Sequential()
        for stage, number in enumerate(channels):
            outputs = scaled(number, width)
            for layer in range(depth):
                halves = layer == depth - 1 and stage < len(channels) - 1
                self.features.append(_convolution(inputs, outputs, halves))
                inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        # Dropout is part of the head, so that it stays active if everything before the head is frozen.
        self.head = nn.Sequential(
            OrderedDict[str, nn.Module](dropout=nn.Dropout(dropout), linear=nn.Linear(inputs, num_classes))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.flatten(self.pool(self.features(inputs))))


def _convolution(inputs: int, outputs: int, halves: bool) -> nn.Sequential:
    """Return one convolution block with named layers, so that the state dict has `features.0.conv.weight`."""
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
    if halves:
        # VGG pools after BatchNorm and ReLU. Pooling first gives them a quarter of the work and normalized outputs.
        layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers | {"norm": nn.BatchNorm2d(outputs), "relu": nn.ReLU()})
