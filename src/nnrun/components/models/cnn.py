"""A small convolutional network for images of any size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nnrun.components.models.adapting import check_image_shape, check_image_size, scaled


class CNN(nn.Module):
    """Convolve 3x3, halve by MaxPool and apply ReLU for each channel width, then Linear, ReLU, Dropout and Linear.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `batchnorm` normalises before each ReLU (Ioffe & Szegedy
    2015, arXiv 1502.03167), `width` is a factor on `channels` and `hidden`. Raises ConfigError where `in_shape` is not
    `(C, H, W)` or where the image is used up before the last convolution.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own in the YAML
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64),
        hidden: int = 128,
        dropout: float = 0.0,
        *,
        batchnorm: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        check_image_shape(in_shape, "cnn")
        check_image_size(in_shape, smallest_size(len(channels)), channels)
        channels, hidden = [scaled(number, width) for number in channels], scaled(hidden, width)
        in_channels, *image = in_shape
        height, breadth = (size_after(size, len(channels)) for size in image)
        widths = [in_channels, *channels]
        self.features = nn.Sequential(
            *(_convolution(inputs, outputs, batchnorm) for inputs, outputs in pairwise(widths))
        )
        self.flatten = nn.Flatten()
        layers = OrderedDict[str, nn.Module](linear=nn.Linear(widths[-1] * height * breadth, hidden, not batchnorm))
        if batchnorm:
            layers["norm"] = nn.BatchNorm1d(hidden)
        layers |= {"relu": nn.ReLU(), "dropout": nn.Dropout(dropout)}
        self.hidden = nn.Sequential(layers)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.hidden(self.flatten(self.features(inputs))))


def size_after(size: int, num_convolutions: int) -> int:
    """Return the height or width that is left of an image; 0 or less where it is used up."""
    for _ in range(num_convolutions):
        size = (size - 2) // 2
    return size


def smallest_size(num_convolutions: int) -> int:
    """Return the smallest height or width of which one pixel is left."""
    size = 1
    for _ in range(num_convolutions):
        size = 2 * size + 2
    return size


def _convolution(inputs: int, outputs: int, batchnorm: bool) -> nn.Sequential:
    """Return one convolution with names, so that the state dict says `features.0.conv.weight`."""
    # The pool goes first: with the ReLU the result is the same, and what follows has a quarter of the work. BatchNorm
    # takes the mean off, so that a bias before it would do nothing.
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(inputs, outputs, 3, bias=not batchnorm), pool=nn.MaxPool2d(2))
    if batchnorm:
        layers["norm"] = nn.BatchNorm2d(outputs)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
