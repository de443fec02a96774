"""Sums over samples, on the device, in which padding has no part."""

from __future__ import annotations

import torch
from torch import Tensor

from nnrun.core.seams.batch import Batch


def zero(device: torch.device) -> Tensor:
    """Return a sum of nothing, in fp64, so that long sums keep their digits; in fp32 on MPS, which has no fp64."""
    return torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


def add_sums(totals: list[Tensor], values: list[Tensor], batch: Batch) -> None:
    """Add to each total the sum of its values over the samples of a batch, `(N,)`, in place."""
    if not batch.is_full:
        # Filled, because NaN times 0 is NaN: padding adds nothing, whatever the network made of it.
        values = [(value * batch.weight).masked_fill(batch.weight == 0, 0) for value in values]
    torch._foreach_add_(totals, [value.sum(dtype=total.dtype) for total, value in zip(totals, values, strict=True)])


def add_weight(total: Tensor, batch: Batch) -> None:
    """Add the weight of a batch, in place."""
    total.add_(batch.num_samples if batch.is_full else batch.weight.sum())
