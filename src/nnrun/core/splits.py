"""Which samples are held out."""

from __future__ import annotations

import torch
from torch import Tensor


def stratified_indices(targets: Tensor, num_held_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of exactly `num_held_out` held out, each ascending.

    Each class gives its share `n_c * num_held_out / N`, rounded by the largest remainder, ties to the lower label.
    `targets` are `(N,)` labels on the host; the choice within a class is the generator's (on the CPU).
    """
    num_samples = len(targets)
    assert 0 <= num_held_out <= num_samples, f"{num_held_out} of {num_samples} samples cannot be held out"
    _, classes, class_sizes = torch.unique(targets, return_inverse=True, return_counts=True)
    quotas = _shares(class_sizes, num_held_out)
    shuffled = torch.randperm(num_samples, generator=generator)
    by_class = shuffled[torch.argsort(classes[shuffled], stable=True)]
    class_starts = class_sizes.cumsum(0) - class_sizes
    rank_in_class = torch.arange(num_samples) - class_starts.repeat_interleave(class_sizes)
    held_out = rank_in_class < quotas.repeat_interleave(class_sizes)
    return by_class[~held_out].sort().values, by_class[held_out].sort().values


def _shares(class_sizes: Tensor, num_held_out: int) -> Tensor:
    """Return how many samples each class gives: whole numbers that add up to `num_held_out`."""
    exact_times_total = class_sizes * num_held_out
    total = max(int(class_sizes.sum()), 1)
    shares, remainders = exact_times_total // total, exact_times_total % total
    num_short = num_held_out - int(shares.sum())
    shares[remainders.argsort(descending=True, stable=True)[:num_short]] += 1
    return shares
