"""The targets of samples as tensors: which values they may have, and what a part that is drawn has its share of."""

from __future__ import annotations

import torch
from torch import Tensor

from nnrun.base.targets import Targets

# Of values, a drawn part has its share of each of so many ranges, by how many values a sample has; of more the first
# three are looked at.
_RANGES = {1: 10, 2: 3}
_RANGES_OF_MORE, _LOOKED_AT = 2, 3


def fault_in(values: Tensor, targets: Targets) -> str | None:
    """Return what is wrong with the targets of some samples, on the host; None for nothing.

    On a device a target that there is not would be an error that nobody can read, or none.
    """
    match targets.kind:
        case "classes":
            return _fault_of_form(values, targets, torch.int64, ()) or _fault_in_classes(values, targets)
        case "labels":
            is_wrong = (values != 0) & (values != 1)
        case "values":
            is_wrong = ~values.isfinite()
    if not targets.names:
        return f"{targets.kind} without a name, of which nothing can be learned"
    form = _fault_of_form(values, targets, torch.float32, (targets.num_outputs,))
    if form is not None or not bool(is_wrong.any()):
        return form
    sample, place = is_wrong.nonzero()[0].tolist()
    allowed = "0 or 1" if targets.kind == "labels" else "finite"
    found = f"{values[sample, place].item():g} for {targets.names[place]} in sample {sample}"
    return f"the target {found}; {targets.kind} are {allowed}"


def _fault_of_form(values: Tensor, targets: Targets, dtype: torch.dtype, shape: tuple[int, ...]) -> str | None:
    """Return what is wrong with the type of some targets, or with the shape, which is `(N, *shape)`."""
    if values.dtype != dtype:
        return f"targets of the type {values.dtype}; they must be {dtype}"
    if tuple(values.shape[1:]) != shape or values.dim() == 0:
        return f"targets of the shape {tuple(values.shape)}; of {targets} they are {(*values.shape[:1], *shape)}"
    return None


def _fault_in_classes(values: Tensor, targets: Targets) -> str | None:
    """Return which number is that of no class."""
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high < targets.num_outputs:
        return None
    return f"the label {low if low < 0 else high}; there are {targets.num_outputs} classes, from 0"


def strata(values: Tensor, targets: Targets) -> Tensor:
    """Return the stratum of each sample, `(N,)` of whole numbers, for drawing a part with its share of each.

    That is the sample's class, the rarest of its labels, or the range that its values are in.
    """
    match targets.kind:
        case "classes":
            return values
        case "labels":
            return _rarest(values)
        case "values":
            return _ranges(values)


def target_counts(values: Tensor, targets: Targets) -> list[int]:
    """Return how many of some samples each class or label has; of values, which all samples have, nothing."""
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
    """Return the place of the rarest label that each sample has, ties to the first; the number of labels for none."""
    counts = labels.sum(0, dtype=torch.float64)
    of_each = torch.where(labels > 0, counts, torch.inf)
    none = torch.full_like(of_each[:, :1], torch.finfo(torch.float64).max)
    return torch.cat([of_each, none], dim=1).argmin(1)


def _ranges(values: Tensor) -> Tensor:
    """Return a number for the range that the values of each sample are in; each range has about as many samples.

    But for values that many samples have, such as 0: these are a range by themselves.

    Where some ranges have to give a sample more than others, those with the lower numbers do: so the numbers are drawn,
    and say nothing of the values.
    """
    number = _RANGES.get(values.shape[1], _RANGES_OF_MORE)
    found = torch.zeros(len(values), dtype=torch.int64)
    columns = values[:, :_LOOKED_AT].t().contiguous()
    for column in columns:
        edges = column.sort().values[torch.arange(1, number) * len(column) // number]
        # A value that many samples have is on both sides of an edge: it is a range of its own, and what lies above
        # another one.
        found = found * (2 * number) + sum(torch.bucketize(column, edges, right=right) for right in (False, True))
    drawn = torch.randperm((2 * number) ** len(columns), generator=torch.Generator().manual_seed(0))
    return drawn[found]
