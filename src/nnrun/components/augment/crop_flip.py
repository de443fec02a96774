"""Random crop after padding, and random horizontal flip: the standard augmentation for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nnrun.components.augment.images import check_images
from nnrun.core.augmenter import SHAPE


class CropFlip:
    """Pad each image, crop it to its size at a random position, and flip it left to right with probability `flip`.

    Takes raw pixels of any type, `(N, C, H, W)`; their values do not change. The padding, `padding` pixels on each
    side, is 0: black, not the mean (He et al. 2016, arXiv 1512.03385, section 4.2).
    """

    stage: ClassVar[int] = SHAPE

    def __init__(self, in_shape: Sequence[int], padding: int = 4, flip: float = 0.5) -> None:
        check_images("crop_flip", in_shape)
        self.padding, self.flip = padding, flip

    def __call__(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        number, device = len(raw), raw.device
        top, left = torch.randint(2 * self.padding + 1, (2, number), generator=generator, device=device)
        flipped = torch.rand(number, generator=generator, device=device) < self.flip
        return crop(functional.pad(raw, [self.padding] * 4), raw.shape[-2:], top, left, flipped)


def crop(padded: Tensor, size: Sequence[int], top: Tensor, left: Tensor, flipped: Tensor) -> Tensor:
    """Return a crop of each image, of a size, starting at `top` and `left`, `(N,)`, and mirrored where `flipped`."""
    rows, columns = (torch.arange(side, device=padded.device) for side in size)
    columns = torch.where(flipped[:, None], columns.flip(0), columns)
    in_row = (left[:, None] + columns)[:, None, None, :].expand(-1, padded.shape[1], size[0], -1)
    in_column = (top[:, None] + rows)[:, None, :, None].expand(-1, padded.shape[1], -1, padded.shape[3])
    return padded.gather(2, in_column).gather(3, in_row)
