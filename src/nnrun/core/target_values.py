"""Targets as tensors: which values are valid, and how samples are stratified."""

from __future__ import annotations

import torch
from torch import Tensor

from nnrun.base.targets import Targets
from nnrun.core.keyed_splits import SplitKeys

# How many ranges each value is divided into for stratification, by the number of values per sample; if there are more
# values, the first three are used.
_RANGES = {1: 10, 2: 3}
_RANGES_OF_MORE, _LOOKED_AT = 2, 3


def fault_in(values: Tensor, targets: Targets) -> str | None:
    """Return what is wrong with the targets of some samples, on the host; None if nothing is.

    On a device, an invalid target would raise an error that nobody can read, or none.
    """
    match targets.kind:
        case "classes":
            return _fault_of_form(values, targets, torch.int64, ()) or _fault_in_classes(values, targets)
        case "labels":
            is_wrong = (values != 0) & (values != 1)
        case "values":
            is_wrong = ~values.isfinite()
    if not targets.names:
        return f"{targets.kind} without a name, so that there is nothing to learn"
    form = _fault_of_form(values, targets, torch.float32, (targets.num_outputs,))
    if form is not None or not bool(is_wrong.any()):
        return form
    sample, place = is_wrong.nonzero()[0].tolist()
    allowed = "0 or 1" if targets.kind == "labels" else "finite"
    found = f"{values[sample, place].item():g} for {targets.names[place]} in sample {sample}"
    return f"the target {found}; {targets.kind} must be {allowed}"


def _fault_of_form(values: Tensor, targets: Targets, dtype: torch.dtype, shape: tuple[int, ...]) -> str | None:
    """Return what is wrong with the dtype of some targets, or with their shape, which must be `(N, *shape)`."""
    if values.dtype != dtype:
        return f"targets of type {values.dtype}; the type must be {dtype}"
    if tuple(values.shape[1:]) != shape or values.dim() == 0:
        expected = (*values.shape[:1], *shape)
        return f"targets of shape {tuple(values.shape)}; for {targets} the shape must be {expected}"
    return None


def _fault_in_classes(values: Tensor, targets: Targets) -> str | None:
    """Return a label that is not the number of a class, in words."""
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high < targets.num_outputs:
        return None
    return f"the label {low if low < 0 else high}; there are {targets.num_outputs} classes, numbered from 0"


def strata(values: Tensor, targets: Targets, keys: SplitKeys | None = None) -> Tensor:
    """Return the stratum of each sample, integers `(N,)`, for drawing splits in proportion.

    It is the sample's class, the rarest of its labels, or the range of its values. Of samples with groups (`keys`), a
    split needs each class, but not each range of values, which one group alone may have.
    """
    match targets.kind:
        case "classes":
            return values
        case "labels":
            return _rarest(values)
        case "values":
            return _ranges(values) if keys is None else torch.zeros(len(values), dtype=torch.int64)


def target_counts(values: Tensor, targets: Targets) -> list[int]:
    """Return how many samples each class or label has; an empty list for values, which all samples have."""
    match targets.kind:
        case "classes":
            return torch.bincount(values, minlength=targets.num_outputs).tolist()
        case "labels":
            return values.sum(0, dtype=torch.float64).long().tolist()
        case "values":
            return []


def in_words(values: Tensor, targets: Targets) -> list[str]:
    """Return the target of each sample as a text, on the host: `cat`, `cat, dog`, `1.5`, `height 1.5, width 3`."""
    names = targets.names
    match targets.kind:
        case "classes":
            return [names[place] for place in values.tolist()]
        case "labels":
            return [", ".join(name for name, holds in zip(names, row, strict=True) if holds) for row in values.tolist()]
        case "values":
            if len(names) == 1:
                return [f"{value:g}" for value in values[:, 0].tolist()]
            return [
                ", ".join(f"{name} {value:g}" for name, value in zip(names, row, strict=True))
                for row in values.tolist()
            ]


def _rarest(labels: Tensor) -> Tensor:
    """Return the index of each sample's rarest label, ties to the first; the number of labels if it has none."""
    counts = labels.sum(0, dtype=torch.float64)
    of_each = torch.where(labels > 0, counts, torch.inf)
    none = torch.full_like(of_each[:, :1], torch.finfo(torch.float64).max)
    return torch.cat([of_each, none], dim=1).argmin(1)


def _ranges(values: Tensor) -> Tensor:
    """Return the number of the range that contains each sample's values; ranges have about equally many samples.

    A value that many samples have, such as 0, is a range by itself.

    If some ranges must give one more sample than others, those with lower numbers do: so the numbers are drawn at
    random, and say nothing about the values.
    """
    number = _RANGES.get(values.shape[1], _RANGES_OF_MORE)
    found = torch.zeros(len(values), dtype=torch.int64)
    columns = values[:, :_LOOKED_AT].t().contiguous()
    for column in columns:
        edges = column.sort().values[torch.arange(1, number) * len(column) // number]
        # A value that many samples have is an edge itself: it is a range of its own, and the values above it are
        # another one.
        found = found * (2 * number) + sum(torch.bucketize(column, edges, right=right) for right in (False, True))
    drawn = torch.randperm((2 * number) ** len(columns), generator=torch.Generator().manual_seed(0))
    return drawn[found]
