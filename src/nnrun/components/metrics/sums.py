"""Sums over samples, on the device; padding is excluded."""

from __future__ import annotations

import torch
from torch import Tensor

from nnrun.core.seams.batch import Batch


def zero(device: torch.device, *shape: int) -> Tensor:
    """Return a zero sum, in fp64, so that long sums keep their precision; in fp32 on MPS, which has no fp64."""
    return torch.zeros(shape, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


def add_sums(totals: list[Tensor], values: list[Tensor], batch: Batch) -> None:
    """Add the sum of values `(N,)` over the samples of a batch to each total, a scalar, in place."""
    if any(total.dim() or value.dim() != 1 for total, value in zip(totals, values, strict=True)):
        raise ValueError("add_sums adds a number for each sample, (N,), to a number; add_rows adds rows")
    if not batch.is_full:
        # Masked, because NaN times 0 is NaN: padding adds nothing, whatever the network's output for it.
        values = [(value * batch.weight).masked_fill(batch.weight == 0, 0) for value in values]
    torch._foreach_add_(totals, [value.sum(dtype=total.dtype) for total, value in zip(totals, values, strict=True)])


def add_rows(total: Tensor, values: Tensor, batch: Batch) -> None:
    """Add the sum of values `(N, K)` over the samples of a batch to a total `(K,)`, in place."""
    if values.dim() != 2 or values.shape[1:] != total.shape:
        raise ValueError("add_rows adds a row for each sample, (N, K), to one of K numbers; add_sums adds numbers")
    if not batch.is_full:
        weight = batch.weight[:, None]
        values = (values * weight).masked_fill(weight == 0, 0)
    total.add_(values.sum(0, dtype=total.dtype))


def add_weight(total: Tensor, batch: Batch) -> None:
    """Add the number of samples of a batch, without padding, in place."""
    total.add_(batch.num_samples if batch.is_full else batch.weight.sum())
