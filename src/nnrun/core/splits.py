"""Which samples are held out: by the position of each in the data, or by its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.core.keyed_splits import SplitKeys, fold_by_time, fold_of_groups, hold_out_units, places_in_order
from nnrun.core.randomness import LIMIT, generator, mix
from nnrun.core.sample_hashes import among

_FRACTION_BITS = 53
# Digests that are hashed at a time: their temporaries stay in the processor's cache.
_CHUNK = 2**16


@dataclass(frozen=True)
class Drawing:
    """How a split is drawn: by `content` or by `position`, for a purpose and a seed.

    A sample drawn by content stays in its split when other samples are added or the order changes. If samples have
    groups or times (`keys`), those decide: a group takes the place of a sample.
    """

    split_by: str
    purpose: int
    seed: int

    def hold_out(
        self, strata: Tensor, digests: Callable[[], Tensor], fraction: float, keys: SplitKeys | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the samples kept and of those held out; `digests` is called only if content decides."""
        if keys is not None:
            return hold_out_units(keys, self._places(keys), strata, fraction)
        if self.split_by == "content":
            kept, held_out = indices_by_content(digests(), strata, fraction, mix(self.purpose, self.seed))
            # If all samples are identical, content cannot tell them apart: positions can.
            if len(held_out) or len(strata) * fraction < 0.5:
                return kept, held_out
        num_held_out = round(len(strata) * fraction)
        return stratified_indices(strata, num_held_out, generator(self.purpose, self.seed))

    def fold(
        self,
        strata: Tensor,
        digests: Callable[[], Tensor],
        number: int,
        num_folds: int,
        keys: SplitKeys | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the indices of the samples kept and of those held out in a fold, counted from 0.

        Each sample is held out in exactly one fold. By content, its hash decides, so that folds differ a little in
        size; by position, each has its share of every stratum. Folds of groups are of nearly equal size; with times,
        a fold is trained on older samples alone.
        """
        if keys is not None and keys.times is not None:
            return fold_by_time(keys, number, num_folds)
        if keys is not None:
            unit, sizes = keys.units()
            folds = fold_of_groups(unit, sizes, self._order(keys, unit, sizes), num_folds)
        elif self.split_by == "content":
            folds = (hashed(digests(), mix(self.purpose, self.seed)) * num_folds).long()
        else:
            shuffled = torch.randperm(len(strata), generator=generator(self.purpose, self.seed))
            by_stratum = shuffled[torch.argsort(strata[shuffled], stable=True)]
            folds = torch.empty(len(strata), dtype=torch.int64)
            folds[by_stratum] = torch.arange(len(strata)) % num_folds
        return (folds != number).nonzero()[:, 0], (folds == number).nonzero()[:, 0]

    def _places(self, keys: SplitKeys) -> Tensor:
        """Return the number of each sample's unit, in [0, 1): the smallest are held out."""
        if keys.times is None and self.split_by == "content":
            assert keys.groups is not None, "keys have groups or times"
            return hashed(keys.groups, mix(self.purpose, self.seed))
        unit, sizes = keys.units()
        return places_in_order(unit, sizes, self._order(keys, unit, sizes))

    def _order(self, keys: SplitKeys, unit: Tensor, sizes: Tensor) -> Tensor:
        """Return the units in the order in which they are held out: the newest first, or groups by chance."""
        if keys.times is not None:
            return torch.arange(len(sizes))
        if self.split_by == "position":
            return torch.randperm(len(sizes), generator=generator(self.purpose, self.seed))
        assert keys.groups is not None, "keys have groups or times"
        first = torch.empty_like(sizes).scatter_(0, unit, keys.groups)
        return hashed(first, mix(self.purpose, self.seed)).argsort(stable=True)

    def limit(self, strata: Tensor, digests: Callable[[], Tensor], limit: int) -> Tensor:
        """Return the indices of `limit` samples, in proportion from each stratum."""
        if self.split_by == "content":
            return limit_by_content(digests(), strata, limit, mix(LIMIT, self.seed))
        return stratified_indices(strata, limit, generator(self.purpose, self.seed, limit))[1]


def stratified_indices(strata: Tensor, num_held_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of exactly `num_held_out` held out, each ascending: by position.

    Each stratum gives its share `n_s * num_held_out / N`, rounded by the largest remainder, ties to the lower label.
    `strata` are `(N,)` labels on the host; `generator` (on the CPU) chooses within a stratum.
    """
    num_samples = len(strata)
    assert 0 <= num_held_out <= num_samples, f"{num_held_out} of {num_samples} samples cannot be held out"
    stratum, sizes = numbered(strata)
    quotas = _shares(sizes, num_held_out)
    shuffled = torch.randperm(num_samples, generator=generator)
    by_stratum = shuffled[torch.argsort(stratum[shuffled], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank_in_stratum = torch.arange(num_samples) - starts.repeat_interleave(sizes)
    held_out = rank_in_stratum < quotas.repeat_interleave(sizes)
    return by_stratum[~held_out].sort().values, by_stratum[held_out].sort().values


def _shares(sizes: Tensor, num_held_out: int) -> Tensor:
    """Return how many samples each stratum gives: integers that add up to `num_held_out`."""
    exact_times_total = sizes * num_held_out
    total = max(int(sizes.sum()), 1)
    shares, remainders = exact_times_total // total, exact_times_total % total
    num_short = num_held_out - int(shares.sum())
    shares[remainders.argsort(descending=True, stable=True)[:num_short]] += 1
    return shares


def indices_by_content(digests: Tensor, strata: Tensor, fraction: float, salt: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of about `fraction` held out, each ascending: by content.

    `digests`, int64 `(N,)`, identify the content of each sample, `salt` the seed and the purpose. A sample is held out
    if its hash, a number in [0, 1), is below `fraction`, whatever else is in the data, and in whatever order; identical
    samples are on one side. So a stratum gives only about its share: a rule that counts would move samples when others
    are added. Two cases are corrected: a stratum whose samples would all be held out keeps the one with the largest
    hash, and one that would give none, though its share rounds to one, gives the one with the smallest. Small strata
    whose shares all round to none give one together.
    """
    hashes = hashed(digests, salt)
    stratum, sizes = numbered(strata)
    empty = torch.zeros(len(sizes), dtype=hashes.dtype)
    smallest, largest = (empty.scatter_reduce(0, stratum, hashes, how, include_self=False) for how in ("amin", "amax"))
    keeps_none = largest < fraction
    gives_none = (smallest >= fraction) & (smallest < largest) & (sizes * fraction >= 0.5)
    by_hash = hashes < fraction
    held_out = by_hash.clone()
    if bool(keeps_none.any()):
        held_out &= ~(keeps_none[stratum] & (hashes == largest[stratum]))
    if bool(gives_none.any()):
        held_out |= gives_none[stratum] & (hashes == smallest[stratum])
    if not bool(held_out.any()) and len(strata) * fraction >= 0.5:
        spares = (smallest < largest)[stratum]
        held_out |= spares & (hashes == torch.where(spares, hashes, 1.0).min())
    # A corrected sample may also be in another stratum, under that label: if it is kept there, all its copies are kept.
    moved = digests[held_out != by_hash]
    if len(moved):
        held_out &= ~among(digests, moved[among(moved, digests[~held_out])])
    return (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]


def numbered(strata: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index of each sample's stratum among those present, ascending, and how many samples each has.

    `strata` are integers `(N,)`, counted if their range is small, and else sorted.
    """
    low, high = (int(strata.min()), int(strata.max())) if len(strata) else (0, 0)
    if high - low > len(strata):
        _, places, sizes = torch.unique(strata, return_inverse=True, return_counts=True)
        return places, sizes
    counts = torch.bincount(strata - low if low else strata)
    is_there = counts > 0
    if low == 0 and bool(is_there.all()):
        return strata, counts
    return (is_there.cumsum(0) - 1)[strata - low], counts[is_there]


def limit_by_content(digests: Tensor, strata: Tensor, limit: int, salt: int) -> Tensor:
    """Return the indices of `limit` samples, ascending: the share of each stratum, those with the smallest hashes.

    Each stratum has at least one if `limit` allows; a smaller limit chooses a subset of what a larger one does.
    """
    stratum, sizes = numbered(strata)
    each = 1 if limit >= len(sizes) else 0
    quotas = each + _shares(sizes - each, limit - each * len(sizes))
    by_hash = hashed(digests, salt).argsort(stable=True)
    by_stratum = by_hash[torch.argsort(stratum[by_hash], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank_in_stratum = torch.arange(len(strata)) - starts.repeat_interleave(sizes)
    return by_stratum[rank_in_stratum < quotas.repeat_interleave(sizes)].sort().values


def hashed(digests: Tensor, salt: int) -> Tensor:
    """Return a number in [0, 1) for each digest, float64 `(N,)`: SplitMix64's finalizer of it and `salt`."""
    found = torch.empty(len(digests), dtype=torch.float64)
    for part, place in zip(digests.split(_CHUNK), found.split(_CHUNK), strict=True):
        place.copy_(_finalised(part ^ _signed(salt)))
    return found


def _finalised(state: Tensor) -> Tensor:
    """Return a number in [0, 1) for each number of 64 bits."""
    # Products of int64 wrap around as unsigned ones do; a shift must not extend the sign.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ ((state >> shift) & (2 ** (64 - shift) - 1))) * _signed(factor)
    state = state ^ ((state >> 31) & (2**33 - 1))
    return ((state >> (64 - _FRACTION_BITS)) & (2**_FRACTION_BITS - 1)).double() / 2**_FRACTION_BITS


def _signed(number: int) -> int:
    """Return the signed number with the same 64 bits as an unsigned one."""
    return number - 2**64 if number >= 2**63 else number
