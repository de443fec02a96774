"""A small convolutional network for images of any size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from nnrun.components.models.adapting import check_image_shape, check_image_size, scaled

# The largest height and width that data.image_size may ask for.
LARGEST_IMAGE = 16384


class CNN(nn.Module):
    """Convolve 3x3, halve by MaxPool and apply ReLU for each channel width, then Linear, ReLU, Dropout and Linear.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `batchnorm` normalises before each ReLU (Ioffe & Szegedy
    2015, arXiv 1502.03167), `width` is a factor on `channels` and `hidden`. Images with more rows or columns than
    `grid`, or than the convolutions need if that is more, are averaged to so many first, so that neither parameters nor
    work grow with the image; without it, as networks of before version 0.5.0, it takes images as they are. Raises
    ConfigError where `in_shape` is not `(C, H, W)` or where the image is used up before the last convolution.
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
        grid: int = LARGEST_IMAGE,
    ) -> None:
        super().__init__()
        check_image_shape(in_shape, "cnn")
        check_image_size(in_shape, smallest_size(len(channels)), channels)
        channels, hidden = [scaled(number, width) for number in channels], scaled(hidden, width)
        in_channels, *image = in_shape
        rows, columns = averaged_size(image, len(channels), grid)
        self.features = nn.Sequential()
        if [rows, columns] != image:
            self.features.add_module("grid", averaging((image[0], image[1]), (rows, columns)))
        widths = [in_channels, *channels]
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            self.features.add_module(str(index), _convolution(inputs, outputs, batchnorm))
        height, breadth = (size_after(size, len(channels)) for size in (rows, columns))
        self.flatten = nn.Flatten()
        layers = OrderedDict[str, nn.Module](linear=nn.Linear(widths[-1] * height * breadth, hidden, not batchnorm))
        if batchnorm:
            layers["norm"] = nn.BatchNorm1d(hidden)
        layers |= {"relu": nn.ReLU(), "dropout": nn.Dropout(dropout)}
        self.hidden = nn.Sequential(layers)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.hidden(self.flatten(self.features(inputs))))

    @staticmethod
    def notes(parameters: Mapping[str, Any]) -> list[str]:
        """Return what is said of a network of these parameters where its training begins."""
        _, *image = parameters["in_shape"]
        size = averaged_size(image, len(parameters["channels"]), parameters["grid"])
        if list(size) == image:
            return []
        shown, averaged = ("x".join(map(str, each)) for each in (image, size))
        hint = "model.grid=64 or model=resnet18 sees more detail"
        return [f"cnn averages images of {shown} to {averaged} first (model.grid={parameters['grid']}); {hint}"]


def averaged_size(image: Sequence[int], num_convolutions: int, grid: int) -> tuple[int, int]:
    """Return the height and width to which an image is averaged: at most `grid`, and what the convolutions need."""
    largest = max(grid, smallest_size(num_convolutions))
    return min(image[0], largest), min(image[1], largest)


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


def averaging(have: tuple[int, int], want: tuple[int, int]) -> nn.AvgPool2d:
    """Return what averages rows and columns to fewer, by windows of one size that cover all, and overlap if they must.

    AdaptiveAvgPool2d has windows of several sizes, which ONNX cannot say, and on CUDA no deterministic gradient.
    """
    strides = [rows // fewer for rows, fewer in zip(have, want, strict=True)]
    sizes = [rows - (fewer - 1) * stride for rows, fewer, stride in zip(have, want, strides, strict=True)]
    return nn.AvgPool2d((sizes[0], sizes[1]), (strides[0], strides[1]))


def _convolution(inputs: int, outputs: int, batchnorm: bool) -> nn.Sequential:
    """Return one convolution with names, so that the state dict says `features.0.conv.weight`."""
    # The pool goes first: with the ReLU the result is the same, and what follows has a quarter of the work. BatchNorm
    # takes the mean off, so that a bias before it would do nothing.
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(inputs, outputs, 3, bias=not batchnorm), pool=nn.MaxPool2d(2))
    if batchnorm:
        layers["norm"] = nn.BatchNorm2d(outputs)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
