"""Change the brightness, the contrast, the saturation and the hue of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.components.augment.images import as_before, check_images, full, grey, per_image, uniform
from nnrun.core.augmenter import COLOR


class Color:
    """Jitter brightness, contrast, saturation and hue of each image, in this order.

    Takes raw pixels, uint8 or float from 0 to 1, `(N, C, H, W)`. A strength b of brightness, contrast or saturation
    draws a factor between 1 - b (at least 0) and 1 + b; `hue` is the maximum rotation in either direction, as a
    fraction of the color circle. Gray images need saturation 0 and hue 0.
    """

    stage: ClassVar[int] = COLOR
    one_is_white: ClassVar[bool] = True

    def __init__(
        self,
        in_shape: Sequence[int],
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.05,
    ) -> None:
        check_images("color", in_shape, channels=(1, 3))
        if in_shape[0] == 1 and (saturation or hue):
            raise ConfigError(
                "augment.color changes saturation and hue, but the images are gray; "
                "add augment.color.saturation=0 augment.color.hue=0"
            )
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        pixels, white = raw.to(torch.float32), full(raw)
        for strength, change in (
            (self.brightness, brighten),
            (self.contrast, change_contrast),
            (self.saturation, saturate),
        ):
            if strength:
                factor = uniform(max(1 - strength, 0), 1 + strength, raw, generator)
                pixels = change(pixels, per_image(factor)).clamp_(0, white)
        if self.hue:
            turns = uniform(-self.hue, self.hue, raw, generator)
            pixels = turn_hue(pixels / white, per_image(turns)) * white
        return as_before(pixels, raw)


def brighten(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return pixels times a factor."""
    return pixels * factor


def change_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return pixels with their distance from the image's mean brightness multiplied by a factor."""
    return torch.lerp(grey(pixels).mean(dim=(1, 2, 3), keepdim=True), pixels, factor)


def saturate(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return pixels with their distance from gray multiplied by a factor."""
    return torch.lerp(grey(pixels), pixels, factor)


def turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Return pixels from 0 to 1, `(N, 3, H, W)`, with their HSV hue rotated by a fraction of the circle."""
    red, green, blue = pixels.split(1, dim=1)
    value, lowest = pixels.amax(1, keepdim=True), pixels.amin(1, keepdim=True)
    spread = value - lowest
    # Gray pixels have no hue: divide them by 1 instead of 0.
    unit = torch.where(spread == 0, 1, spread)
    hue = torch.where(
        value == red,
        (green - blue) / unit,
        torch.where(value == green, 2 + (blue - red) / unit, 4 + (red - green) / unit),
    )
    hue = hue / 6 + turns
    # Along the circle each channel falls from `value` to `lowest` and rises again, with its own phase.
    place = torch.remainder(5 - 2 * torch.arange(3, device=pixels.device).view(1, 3, 1, 1) + 6 * hue, 6)
    return value - spread * torch.minimum(place, 4 - place).clamp(0, 1)
