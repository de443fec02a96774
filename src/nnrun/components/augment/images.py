"""Code that the image augmentations share: random draws, conversion to float and back, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError

# Weights of red, green and blue in the brightness (ITU-R BT.601).
LUMA = (0.2989, 0.587, 0.114)


def check_images(name: str, in_shape: Sequence[int], channels: Sequence[int] = ()) -> None:
    """Raise ConfigError unless samples are images `(C, H, W)`, with one of these numbers of `channels` if given."""
    if isinstance(in_shape, Mapping) or len(in_shape) != 3:
        got = in_shape if isinstance(in_shape, Mapping) else list(in_shape)
        raise ConfigError.of("data.in_shape", got, f"images, for augment.{name}", "remove it from augment=")
    if channels and in_shape[0] not in channels:
        allowed = f"images of {' or '.join(map(str, channels))} channels, for augment.{name}"
        raise ConfigError.of("data.in_shape", list(in_shape), allowed, "remove it from augment=")


def uniform(low: float, high: float, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random number from low to high for each sample of `like`, `(N,)` in fp32."""
    drawn = torch.rand(len(like), generator=generator, device=like.device)
    # Each operation is a launch on a GPU.
    scaled = drawn if high - low == 1 else drawn * (high - low)
    return scaled if low == 0 else scaled + low


def full(images: Tensor) -> float:
    """Return the value of a white pixel: 255, or 1 for float pixels."""
    return 1.0 if images.is_floating_point() else 255.0


def as_before(pixels: Tensor, images: Tensor) -> Tensor:
    """Return float pixels in the dtype of `images`; rounded and clamped if that is uint8."""
    if images.is_floating_point():
        return pixels.to(images.dtype)
    return pixels.round_().clamp_(0, 255).to(images.dtype)


def per_image(values: Tensor) -> Tensor:
    """Return values `(N,)` as `(N, 1, 1, 1)`, which broadcasts over images."""
    return values.view(-1, 1, 1, 1)


def grey(pixels: Tensor) -> Tensor:
    """Return the brightness of float pixels, `(N, 1, H, W)`; for images with one channel, the pixels themselves."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def boxes(top: Tensor, left: Tensor, height: Tensor, width: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a mask `(N, 1, H, W)` of the pixels inside each image's box; boxes are given in whole pixels, `(N,)`."""
    rows, columns = (torch.arange(side, device=top.device) for side in size)
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
