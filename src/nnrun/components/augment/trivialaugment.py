"""TrivialAugment: one random operation per image, at a random strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nnrun.components.augment.affine import inverse_of, warp
from nnrun.components.augment.images import as_before, check_images, full, grey, per_image, uniform
from nnrun.core.augmenter import COLOR

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "shift_x", "shift_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
# Values at the maximum strength.
MAX_SLOPE = 0.99
MAX_DEGREES = 135.0
MAX_BLEND = 0.99
MAX_LOST_BITS = 6
# As a fraction of the side. (The paper's 32 pixels are a seventh of its photographs, but all of a small image.)
MAX_SHIFT = 0.45
_NUM_STRENGTHS = 31


class TrivialAugment:
    """Apply one operation to each image, all equally likely (Mueller & Hutter 2021, arXiv 2103.10158).

    Takes raw pixels, uint8 or float from 0 to 1, `(N, C, H, W)`, with 1 or 3 channels; pixels from outside the image
    are 0, black. Operations and strengths are those of the paper's wide space, except that shifts are fractions of the
    side. All operations are computed for the whole batch and each image takes its own, so that only values depend on
    the random draws, not shapes. With `probability` below 1, the remaining images stay unchanged.
    """

    stage: ClassVar[int] = COLOR
    one_is_white: ClassVar[bool] = True

    def __init__(self, in_shape: Sequence[int], probability: float = 1.0) -> None:
        # This import takes seconds, so only runs that use it should pay for it.
        from torchvision.transforms.v2.functional import autocontrast, equalize  # noqa: PLC0415 - see above

        check_images("trivialaugment", in_shape, channels=(1, 3))
        self.probability = probability
        self._whole_images = {"autocontrast": autocontrast, "equalize": equalize}

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        shape, device = (len(raw),), raw.device
        operation = torch.randint(len(OPERATIONS), shape, generator=generator, device=device)
        strength = torch.randint(_NUM_STRENGTHS, shape, generator=generator, device=device) / (_NUM_STRENGTHS - 1)
        sign = torch.where(uniform(0, 1, raw, generator) < 0.5, -1.0, 1.0)
        changed = uniform(0, 1, raw, generator) < self.probability
        return self.apply(raw, operation * changed, strength, sign)

    def apply(self, raw: Tensor, operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
        """Return each image after its operation (an index into OPERATIONS) at its strength from 0 to 1, `(N,)` each;
        `sign`, -1 or 1, is the direction of operations that have one.
        """
        # Everything is computed on the uint8 scale, for which the strengths are defined.
        pixels = raw.to(torch.float32) * (255 / full(raw))
        images = pixels.round().to(torch.uint8)

        def among(*names: str) -> Tensor:
            first, last = _NUMBER[names[0]], _NUMBER[names[-1]]
            return per_image(operation == first if first == last else (operation >= first) & (operation <= last))

        changed = torch.where(among("shear_x", "rotate"), moved(pixels, operation, sign * strength), pixels)
        changed = torch.where(among("brightness", "sharpness"), blended(pixels, operation, sign * strength), changed)
        kept_bits = 8 - (strength * MAX_LOST_BITS).round()
        step = per_image(torch.exp2(8 - kept_bits))
        changed = torch.where(among("posterize"), (pixels / step).floor() * step, changed)
        inverted = torch.where(pixels >= per_image(255 * (1 - strength)), 255 - pixels, pixels)
        changed = torch.where(among("solarize"), inverted, changed)
        for name, function in self._whole_images.items():
            changed = torch.where(among(name), function(images).to(torch.float32), changed)
        return as_before(changed * (full(raw) / 255), raw)


def moved(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Return images sheared, shifted or rotated, with a strength from -1 to 1."""
    zero = strength.new_zeros(())  # a number in its place would be moved to the device for each `where`

    def where(name: str, value: Tensor) -> Tensor:
        return torch.where(operation == _NUMBER[name], value, zero)

    inverse = inverse_of(where("rotate", strength * math.radians(MAX_DEGREES)), torch.ones_like(strength), strength * 0)
    slope = torch.zeros_like(inverse)
    slope[:, 0, 1] = where("shear_x", strength * MAX_SLOPE)
    slope[:, 1, 0] = where("shear_y", strength * MAX_SLOPE)
    shift = torch.stack([where(name, strength * MAX_SHIFT) for name in ("shift_x", "shift_y")], dim=1)
    return warp(pixels, inverse + slope, shift)


def blended(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Return images blended with, or moved away from, a degraded one: black, gray, uniform or blurred."""
    brightness = grey(pixels)
    poorer = torch.zeros_like(pixels)
    for name, other in (
        ("color", brightness),
        ("contrast", brightness.mean(dim=(1, 2, 3), keepdim=True)),
        ("sharpness", blurred(pixels)),
    ):
        poorer = torch.where(per_image(operation == _NUMBER[name]), other, poorer)
    return torch.lerp(poorer, pixels, per_image(1 + strength * MAX_BLEND)).clamp_(0, 255)


def blurred(pixels: Tensor) -> Tensor:
    """Return images with each pixel except at the border averaged with its 8 neighbors; the pixel has weight 5."""
    if min(pixels.shape[-2:]) < 3:
        return pixels
    inner = (functional.avg_pool2d(pixels, 3, stride=1) * 9 + 4 * pixels[..., 1:-1, 1:-1]) / 13
    result = pixels.clone()
    result[..., 1:-1, 1:-1] = inner.round()
    return result
