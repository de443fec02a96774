"""Shift, rotate, scale and shear images, all in one resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nnrun.components.augment.images import as_before, check_images, uniform
from nnrun.core.augmenter import SHAPE


class Affine:
    """Apply a random affine map to each image, with parameters drawn uniformly within the given bounds.

    Takes raw pixels, uint8 or float, `(N, C, H, W)`. Pixels from outside the image are 0: black, not the mean.
    `shift` is a fraction of the side; `degrees` and `shear` are angles in degrees; each applies in both directions.
    """

    stage: ClassVar[int] = SHAPE

    def __init__(
        self,
        in_shape: Sequence[int],
        degrees: float = 10.0,
        shift: float = 0.1,
        scale: Sequence[float] = (0.9, 1.1),
        shear: float = 10.0,
    ) -> None:
        check_images("digits", in_shape)
        self.degrees, self.shift, self.scale, self.shear = degrees, shift, tuple(scale), shear

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        angle, shear = (uniform(-bound, bound, raw, generator) for bound in (self.degrees, self.shear))
        scale = uniform(self.scale[0], self.scale[1], raw, generator)
        shift = torch.stack([uniform(-self.shift, self.shift, raw, generator) for _ in range(2)], dim=1)
        inverse = inverse_of(angle * (math.pi / 180), scale, shear * (math.pi / 180))
        return as_before(warp(raw.to(torch.float32), inverse, shift), raw)


def inverse_of(angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Return matrices `(N, 2, 2)` from output to input coordinates, for angles in radians `(N,)`.

    The forward map first shears rows by the tangent of `shear`, then scales and rotates, like torchvision's `affine`.
    """
    cos, sin, slope = angle.cos(), angle.sin(), shear.tan()
    rows = [cos - sin * slope, sin + cos * slope, -sin, cos]
    return torch.stack(rows, dim=1).view(-1, 2, 2) / scale.view(-1, 1, 1)


def warp(pixels: Tensor, inverse: Tensor, shift: Tensor) -> Tensor:
    """Return float images resampled bilinearly about their center, and shifted by `shift`, `(N, 2)`, x and y.

    `inverse` maps output coordinates to input coordinates; a shift of 1 is a whole side. Pixels outside are 0.
    """
    height, width = pixels.shape[-2:]
    # affine_grid's coordinates range from -1 to 1 along each side, whatever its length.
    ratio = width / height
    first, second = inverse[:, 0, :], inverse[:, 1, :]
    linear = torch.stack(
        [first[:, 0], first[:, 1] / ratio, second[:, 0] * ratio, second[:, 1]],
        dim=1,
    ).view(-1, 2, 2)
    theta = torch.cat([linear, -(linear @ (2 * shift)[:, :, None])], dim=2)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
