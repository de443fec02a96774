"""Erase a random box of each image, so that the network does not depend on a single region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from nnrun.components.augment.images import boxes, check_images, uniform
from nnrun.core.augmenter import HIDE


class Erasing:
    """Cover a box of each image with noise or black, with a probability (Zhong et al. 2017, arXiv 1708.04896).

    Takes raw pixels, uint8 or float from 0 to 1, `(N, C, H, W)`. The box's fraction of the image is uniform between
    the bounds of `area`; the logarithm of its height divided by its width is uniform between those of `ratio`. A box
    that would be taller or wider than the image is cut off.
    """

    stage: ClassVar[int] = HIDE

    def __init__(
        self,
        in_shape: Sequence[int],
        probability: float = 0.5,
        area: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        fill: str = "noise",
    ) -> None:
        check_images("erasing", in_shape)
        self.probability, self.area, self.fill = probability, tuple(area), fill
        self.one_is_white = fill == "noise"
        self._log_ratio = [math.log(bound) for bound in ratio]

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        size = raw.shape[-2], raw.shape[-1]
        erased = uniform(0, 1, raw, generator) < self.probability
        pixels = uniform(self.area[0], self.area[1], raw, generator) * (size[0] * size[1])
        ratio = uniform(self._log_ratio[0], self._log_ratio[1], raw, generator).exp()
        height = (pixels * ratio).sqrt().round().clamp(max=size[0])
        width = (pixels / ratio).sqrt().round().clamp(max=size[1])
        top = (uniform(0, 1, raw, generator) * (size[0] - height + 1)).floor()
        left = (uniform(0, 1, raw, generator) * (size[1] - width + 1)).floor()
        box = boxes(top, left, height, width, size) & erased.view(-1, 1, 1, 1)
        return torch.where(box, self._noise(raw, generator) if self.fill == "noise" else 0, raw)

    def _noise(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Return images of independent random values."""
        if raw.is_floating_point():
            return torch.rand(raw.shape, generator=generator, device=raw.device, dtype=raw.dtype)
        return torch.randint(256, raw.shape, generator=generator, device=raw.device, dtype=raw.dtype)
