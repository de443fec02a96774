"""Which samples are held out: by the place of each in the data, or by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.core.randomness import LIMIT, generator, mix

_FRACTION_BITS = 53


@dataclass(frozen=True)
class Drawing:
    """How a part is drawn: by `content` or by `position`, for a purpose and a seed.

    What is drawn by content stays where it is when other samples are added or the order changes.
    """

    split_by: str
    purpose: int
    seed: int

    def hold_out(self, targets: Tensor, digests: Callable[[], Tensor], fraction: float) -> tuple[Tensor, Tensor]:
        """Return the indices of the samples kept and of those held out; `digests` are asked for where they decide."""
        if self.split_by == "content":
            kept, held_out = indices_by_content(digests(), targets, fraction, mix(self.purpose, self.seed))
            # Where all samples are alike, content tells none from another: their places do.
            if len(held_out) or len(targets) * fraction < 0.5:
                return kept, held_out
        num_held_out = round(len(targets) * fraction)
        return stratified_indices(targets, num_held_out, generator(self.purpose, self.seed))

    def limit(self, targets: Tensor, digests: Callable[[], Tensor], limit: int) -> Tensor:
        """Return the indices of `limit` samples, each class with its share."""
        if self.split_by == "content":
            return limit_by_content(digests(), targets, limit, mix(LIMIT, self.seed))
        return stratified_indices(targets, limit, generator(self.purpose, self.seed, limit))[1]


def stratified_indices(targets: Tensor, num_held_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of exactly `num_held_out` held out, each ascending: by their places.

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


def indices_by_content(digests: Tensor, targets: Tensor, fraction: float, salt: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of about `fraction` held out, each ascending: by their content.

    `digests`, int64 `(N,)`, stand for what is in each sample, `salt` for the seed and the purpose. A sample is held out
    where its hash, a number in [0, 1), is below `fraction`, whatever else is in the data, and in whatever order; those
    that are alike are on one side. So a class gives about its share, and no more can be had: a rule that counts moves
    samples when others come. Two things are put right: a class whose samples would all be held out keeps the one with
    the largest hash, and one that would give none, though its share is one, gives the one with the smallest. Small
    classes, none of whose shares is one, give one together.
    """
    hashes = hashed(digests, salt)
    _, classes, class_sizes = torch.unique(targets, return_inverse=True, return_counts=True)
    empty = torch.zeros(len(class_sizes), dtype=hashes.dtype)
    smallest, largest = (empty.scatter_reduce(0, classes, hashes, how, include_self=False) for how in ("amin", "amax"))
    keeps_none = largest < fraction
    gives_none = (smallest >= fraction) & (smallest < largest) & (class_sizes * fraction >= 0.5)
    held_out = (hashes < fraction) & ~(keeps_none[classes] & (hashes == largest[classes]))
    held_out |= gives_none[classes] & (hashes == smallest[classes])
    if not bool(held_out.any()) and len(targets) * fraction >= 0.5:
        spares = (smallest < largest)[classes]
        held_out |= spares & (hashes == torch.where(spares, hashes, 1.0).min())
    # What was put right in one class may stand in another one too, under its label.
    held_out &= ~torch.isin(digests, digests[~held_out])
    return (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]


def limit_by_content(digests: Tensor, targets: Tensor, limit: int, salt: int) -> Tensor:
    """Return the indices of `limit` samples, ascending: of each class its share, those with the smallest hashes.

    A class has at least one where there are that many; of fewer samples the choice is a part of that of more.
    """
    _, classes, class_sizes = torch.unique(targets, return_inverse=True, return_counts=True)
    each = 1 if limit >= len(class_sizes) else 0
    quotas = each + _shares(class_sizes - each, limit - each * len(class_sizes))
    by_hash = hashed(digests, salt).argsort(stable=True)
    by_class = by_hash[torch.argsort(classes[by_hash], stable=True)]
    class_starts = class_sizes.cumsum(0) - class_sizes
    rank_in_class = torch.arange(len(targets)) - class_starts.repeat_interleave(class_sizes)
    return by_class[rank_in_class < quotas.repeat_interleave(class_sizes)].sort().values


def hashed(digests: Tensor, salt: int) -> Tensor:
    """Return a number in [0, 1) for each digest, float64 `(N,)`: SplitMix64's finaliser of it and of `salt`."""
    state = digests ^ _signed(salt)
    # Of int64 the products wrap around as those of 64 bits without a sign do; a shift must not bring the sign in.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ ((state >> shift) & (2 ** (64 - shift) - 1))) * _signed(factor)
    state = state ^ ((state >> 31) & (2**33 - 1))
    return ((state >> (64 - _FRACTION_BITS)) & (2**_FRACTION_BITS - 1)).double() / 2**_FRACTION_BITS


def _signed(number: int) -> int:
    """Return the number that 64 bits mean where the highest of them is a sign."""
    return number - 2**64 if number >= 2**63 else number
