"""The distribution of the values of tensors, computed on their device."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nnrun.core.seams.training import Histogram

NUM_PARTS = 64


@torch.no_grad()
def parts_of(values: Tensor) -> Tensor:
    """Return the minimum, maximum, sum and sum of squares of a tensor, and its counts; does not wait for the device."""
    flat = values.detach().float().flatten()
    low, high = flat.aminmax()
    scaled = (flat - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    counts = torch.histc(scaled, NUM_PARTS, 0, 1)
    return torch.cat([torch.stack([low, high, flat.sum(), flat.square().sum()]), counts])


def histograms_of(parts: Mapping[str, Tensor]) -> dict[str, Histogram]:
    """Return what `parts_of` returned for several tensors as histograms; none of a tensor with NaN or infinity.

    Waits for the device, once.
    """
    if not parts:
        return {}
    rows = torch.stack(list(parts.values())).cpu().tolist()  # waits for the device
    return {
        name: Histogram(low, high, tuple(counts), total, squares)
        for name, (low, high, total, squares, *counts) in zip(parts, rows, strict=True)
        if math.isfinite(low) and math.isfinite(high)
    }
