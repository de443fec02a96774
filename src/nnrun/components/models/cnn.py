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
    """3x3 convolution, max pooling and ReLU for each of `channels`, then Linear, ReLU, Dropout and Linear.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. `batchnorm` normalizes before each ReLU (Ioffe & Szegedy
    2015, arXiv 1502.03167); `width` is a factor on `channels` and `hidden`. Images with more rows or columns than
    `grid` (or than the convolutions need, if that is more) are average-pooled to that size first, so that parameters
    and compute do not grow with the image. The default grid, that of checkpoints before version 0.5.0, pools none.
    Raises ConfigError if `in_shape` is not `(C, H, W)`, or if the image is too small for the convolutions.
    """

    def __init__(  # noqa: PLR0913 - each is a setting in the YAML
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
        """Return the notes to print about a network with these parameters when training starts."""
        _, *image = parameters["in_shape"]
        size = averaged_size(image, len(parameters["channels"]), parameters["grid"])
        if list(size) == image:
            return []
        shown, averaged = ("x".join(map(str, each)) for each in (image, size))
        hint = "model.grid=64 or model=resnet18 keeps more detail"
        return [f"cnn averages images of {shown} to {averaged} first (model.grid={parameters['grid']}); {hint}"]


def averaged_size(image: Sequence[int], num_convolutions: int, grid: int) -> tuple[int, int]:
    """Return the height and width to which an image is averaged: at most `grid`, but enough for the convolutions."""
    largest = max(grid, smallest_size(num_convolutions))
    return min(image[0], largest), min(image[1], largest)


def size_after(size: int, num_convolutions: int) -> int:
    """Return the height or width of the feature map after the convolutions; 0 or less if the image is too small."""
    for _ in range(num_convolutions):
        size = (size - 2) // 2
    return size


def smallest_size(num_convolutions: int) -> int:
    """Return the smallest image height or width for which one pixel remains after the convolutions."""
    size = 1
    for _ in range(num_convolutions):
        size = 2 * size + 2
    return size


def averaging(have: tuple[int, int], want: tuple[int, int]) -> nn.AvgPool2d:
    """Return average pooling from one size to another. All windows have the same size; they overlap if necessary.

    AdaptiveAvgPool2d has windows of several sizes, which ONNX cannot express, and no deterministic gradient on CUDA.
    """
    strides = [rows // fewer for rows, fewer in zip(have, want, strict=True)]
    sizes = [rows - (fewer - 1) * stride for rows, fewer, stride in zip(have, want, strides, strict=True)]
    return nn.AvgPool2d((sizes[0], sizes[1]), (strides[0], strides[1]))


def _convolution(inputs: int, outputs: int, batchnorm: bool) -> nn.Sequential:
    """Return one convolution block with named layers, so that the state dict has `features.0.conv.weight`."""
    # Pooling comes before ReLU: the result is the same, and the next layers have a quarter of the work. BatchNorm
    # subtracts the mean, so a bias before it would have no effect.
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(inputs, outputs, 3, bias=not batchnorm), pool=nn.MaxPool2d(2))
    if batchnorm:
        layers["norm"] = nn.BatchNorm2d(outputs)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
