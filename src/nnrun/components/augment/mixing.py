"""Mix the samples of a batch: MixUp and CutMix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from nnrun.base.errors import ConfigError
from nnrun.components.augment.images import boxes, check_images, uniform
from nnrun.core.seams.data import Tree

_NUM_POINTS = 4097


class MixUp:
    """Average each sample with another one (Zhang et al. 2018, arXiv 1710.09412).

    Takes the network's inputs, after preprocessing: any tree of floats, images or not. The weight of the other sample
    is drawn for each sample from Beta(alpha, alpha), folded to 1/2 or less: the distribution is symmetric, so a
    sample's own target can always be that of the larger weight.
    """

    def __init__(self, alpha: float = 0.2) -> None:
        self._share = HalfBeta(alpha)

    def mix(self, inputs: Tree, others: Tree, generator: torch.Generator) -> tuple[Tree, Tensor]:
        leaves = tree_leaves(inputs)
        if not all(leaf.is_floating_point() for leaf in leaves):
            kinds = ", ".join(str(leaf.dtype) for leaf in leaves)
            raise ConfigError(f"augment.mixup averages float samples, but these are {kinds}; remove it from augment=")
        share = 1 - self._share.draw(leaves[0], generator)

        def average(own: Tensor, other: Tensor) -> Tensor:
            return torch.lerp(other, own, share.to(own.dtype).view(-1, *[1] * (own.dim() - 1)))

        return tree_map(average, inputs, others), share


class CutMix:
    """Paste a box of another image into each image (Yun et al. 2019, arXiv 1905.04899).

    Takes the network's inputs, after preprocessing, `(N, C, H, W)`. The area fraction of the box is drawn for each
    sample from Beta(alpha, alpha), folded to 1/2 or less: unlike in the paper, the larger part is always the sample's
    own. The box's center is anywhere; the border cuts it off, and the weights are fractions of the pixels.
    """

    def __init__(self, in_shape: Sequence[int], alpha: float = 1.0) -> None:
        check_images("cutmix", in_shape)
        self._share = HalfBeta(alpha)

    def mix(self, inputs: Tensor, others: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows, columns = size = inputs.shape[-2], inputs.shape[-1]
        side = self._share.draw(inputs, generator).sqrt()
        # Rounded down, so that a box never covers more than half of the image.
        height, width = (side * rows).floor(), (side * columns).floor()
        top = (uniform(0, 1, inputs, generator) * rows - height / 2).round()
        left = (uniform(0, 1, inputs, generator) * columns - width / 2).round()
        box = boxes(top, left, height, width, size)
        return torch.where(box, others, inputs), 1 - box.sum(dim=(1, 2, 3)) / (rows * columns)


class HalfBeta:
    """Draw from Beta(alpha, alpha), folded to 1/2 or less, from a table of quantiles with linear interpolation.

    torch's own sampler accepts no generator.
    """

    def __init__(self, alpha: float) -> None:
        # The density is x^(alpha-1) (1-x)^(alpha-1). For alpha < 1 it has a pole at 0; in s = x^alpha it has none.
        power = min(alpha, 1)
        s = torch.linspace(0, 0.5**power, _NUM_POINTS, dtype=torch.float64)
        x = s ** (1 / power)
        density = x ** (alpha - power) * (1 - x) ** (alpha - 1)
        below = torch.cat([torch.zeros(1, dtype=s.dtype), ((density[1:] + density[:-1]) / 2).cumsum(0)])
        wanted = torch.linspace(0, 1, _NUM_POINTS, dtype=s.dtype) * below[-1]
        after = torch.searchsorted(below, wanted).clamp(1, _NUM_POINTS - 1)
        part = (wanted - below[after - 1]) / (below[after] - below[after - 1]).clamp(min=1e-300)
        self._quantiles = (torch.lerp(s[after - 1], s[after], part) ** (1 / power)).to(torch.float32)

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return a draw for each sample of `like`, `(N,)`, from 0 to 1/2."""
        if self._quantiles.device != like.device:
            self._quantiles = self._quantiles.to(like.device)
        place = uniform(0, _NUM_POINTS - 1, like, generator)
        before = place.long().clamp(max=_NUM_POINTS - 2)
        return torch.lerp(self._quantiles[before], self._quantiles[1:][before], place - before)
