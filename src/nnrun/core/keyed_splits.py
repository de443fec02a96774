"""Splits by what samples belong to: a group is on one side as a whole, and the newest samples are held out."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import torch
from torch import Tensor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SplitKeys:
    """The group or the time of each sample, or both, on the host; and what they are called.

    Samples with the same number in `groups`, int64 `(N,)`, are never in two splits. Of `times`, float64 `(N,)`, the
    newest are held out: seconds since 1970 if they `are_dates`, or else any numbers. With both, a group is as new as
    the newest of its samples.
    """

    groups: Tensor | None = None
    times: Tensor | None = None
    group: str = ""
    time: str = ""
    are_dates: bool = False

    def subset(self, indices: Tensor) -> SplitKeys:
        """Return the keys of the samples at `indices`, in that order."""
        groups, times = (None if of is None else of[indices] for of in (self.groups, self.times))
        return replace(self, groups=groups, times=times)

    @property
    def num_groups(self) -> int:
        """The number of different groups."""
        return 0 if self.groups is None else len(self.groups.unique())

    def span(self) -> tuple[str, str]:
        """Return the times of the oldest and the newest sample as texts."""
        assert self.times is not None and len(self.times), "only samples with times have a span"
        return self._text(float(self.times.min())), self._text(float(self.times.max()))

    def fingerprint(self) -> str:
        """Return a hash of the groups and times in order."""
        sha256 = hashlib.sha256()
        for of in (self.groups, self.times):
            if of is not None:
                sha256.update(of.contiguous().numpy().data)
        return sha256.hexdigest()

    def why_whole(self) -> str:
        """Return why samples that cannot be divided cannot be."""
        setting = f"data.time={self.time}" if self.times is not None else f"data.group={self.group}"
        number = len(self.units()[1])
        if self.times is not None:
            have = f"have the same time, {self.span()[0]}" if len(self.times.unique()) == 1 else "are of one group"
            return f"{setting}: all {len(self.times):,} samples {have}" if number == 1 else f"{setting}: too few times"
        assert self.groups is not None, "keys have groups or times"
        if number == 1:
            return f"{setting}: all {len(self.groups):,} samples are of one group"
        return f"{setting}: each of the {number:,} groups has targets that no other has"

    def _text(self, time: float) -> str:
        if not self.are_dates:
            return f"{time:.15g}"
        at = _EPOCH + timedelta(seconds=time)
        return f"{at:%Y-%m-%d}" if time % 86400 == 0 else f"{at:%Y-%m-%d %H:%M:%S}"

    def units(self) -> tuple[Tensor, Tensor]:
        """Return the number of each sample's unit, which stays together, and the sizes of the units.

        Units of samples with times are numbered from the newest one.
        """
        if self.times is None:
            assert self.groups is not None, "keys have groups or times"
            _, unit, sizes = torch.unique(self.groups, return_inverse=True, return_counts=True)
            return unit, sizes
        times = self.times
        if self.groups is not None:
            _, group = torch.unique(self.groups, return_inverse=True)
            newest = torch.full((int(group.max()) + 1,), -torch.inf, dtype=times.dtype)
            times = newest.scatter_reduce(0, group, times, "amax")[group]
        _, unit, sizes = torch.unique(-times, return_inverse=True, return_counts=True)
        return unit, sizes


def hold_out_units(keys: SplitKeys, places: Tensor, strata: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples kept and of about `fraction` held out, each ascending, no unit on both sides.

    A unit whose number in `places`, float64 `(N,)` in [0, 1), is below `fraction` is held out. Two cases are corrected:
    if all units would be held out, the last one is kept, and if none would be, the first one is held out. Without
    times, a stratum also keeps its last group, and no group is held out alone that a stratum needs.
    """
    held_out = places < fraction
    has_times = keys.times is not None
    stratum = torch.zeros_like(strata) if has_times else torch.unique(strata, return_inverse=True)[1]
    num_strata = int(stratum.max()) + 1 if len(stratum) else 0
    empty = torch.zeros(num_strata, dtype=places.dtype)
    first, last = (empty.scatter_reduce(0, stratum, places, how, include_self=False) for how in ("amin", "amax"))
    needed = places[(last < fraction)[stratum] & (places == last[stratum])]
    held_out &= ~torch.isin(places, needed)
    if not bool(held_out.any()):
        # The units whose strata all have others.
        needed = places[~(first < last)[stratum]]
        spare = places[~torch.isin(places, needed)]
        if len(spare):
            held_out = places == spare.min()
    return (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]


def places_in_order(unit: Tensor, sizes: Tensor, order: Tensor) -> Tensor:
    """Return the place of each sample's unit among all samples, in [0, 1): the middle of the unit, in some order.

    So the units before a fraction of the samples are those whose places are below it, to the nearest one.
    """
    sizes = sizes[order].double()
    middles = torch.empty_like(sizes)
    middles[order] = (sizes.cumsum(0) - sizes / 2) / sizes.sum()
    return middles[unit]


def fold_by_time(keys: SplitKeys, number: int, num_folds: int) -> tuple[Tensor, Tensor]:
    """Return the indices of samples to train on and to validate on: the samples are in `num_folds + 1` periods.

    Fold `number`, from 0, is validated on the period that follows the first `number + 1`, and trained on these; newer
    samples are in neither.
    """
    unit, sizes = keys.units()
    oldest_first = torch.arange(len(sizes)).flip(0)
    period = (places_in_order(unit, sizes, oldest_first) * (num_folds + 1)).long()
    return (period <= number).nonzero()[:, 0], (period == number + 1).nonzero()[:, 0]


def fold_of_groups(unit: Tensor, sizes: Tensor, order: Tensor, num_folds: int) -> Tensor:
    """Return the fold of each sample: the largest groups first, each into the fold with the fewest samples.

    `order` decides among groups of one size.
    """
    by_size = order[sizes[order].argsort(descending=True, stable=True)]
    fold_of_unit = torch.empty_like(sizes)
    folds = [(0, fold) for fold in range(num_folds)]
    for place in by_size.tolist():
        count, fold = heapq.heappop(folds)
        fold_of_unit[place] = fold
        heapq.heappush(folds, (count + int(sizes[place]), fold))
    return fold_of_unit[unit]
