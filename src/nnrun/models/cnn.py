"""A small convolutional network for images of any size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nnrun.errors import ConfigError


class CNN(nn.Module):
    """Convolve 3x3, halve by MaxPool and apply ReLU for each channel width, then Linear, ReLU, Dropout and Linear.

    Takes `(N, C, H, W)` and returns scores `(N, num_classes)`. Raises ConfigError where `in_shape` is not `(C, H, W)`
    or where the image is used up before the last convolution.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64),
        hidden: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(in_shape) != 3:
            hint = "model=mlp takes samples of any shape"
            raise ConfigError.of("data.in_shape", list(in_shape), "channels, height and width for this network", hint)
        in_channels, *image = in_shape
        height, width = (size_after(size, len(channels)) for size in image)
        if min(height, width) < 1:
            least = smallest_size(len(channels))
            raise ConfigError.of(
                "data.in_shape",
                list(in_shape),
                f"images of at least {least}x{least} with model.channels={list(channels)}",
                "name fewer channels, or choose model=mlp",
            )
        widths = [in_channels, *channels]
        self.features = nn.Sequential(*(_convolution(inputs, outputs) for inputs, outputs in pairwise(widths)))
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(
            OrderedDict[str, nn.Module](
                linear=nn.Linear(widths[-1] * height * width, hidden), relu=nn.ReLU(), dropout=nn.Dropout(dropout)
            )
        )
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


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Return one convolution with names, so that the state dict says `features.0.conv.weight`."""
    return nn.Sequential(
        # The pool goes first: the result is the same, and the ReLU has a quarter of the work.
        OrderedDict[str, nn.Module](conv=nn.Conv2d(inputs, outputs, 3), pool=nn.MaxPool2d(2), relu=nn.ReLU())
    )
