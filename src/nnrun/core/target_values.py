"""The targets of samples as tensors: which values they may have, and what a part that is drawn has its share of."""

from __future__ import annotations

import torch
from torch import Tensor

from nnrun.base.targets import Targets


def fault_in(values: Tensor, targets: Targets) -> str | None:
    """Return what is wrong with the targets of some samples, on the host; None for nothing.

    On a device a class that there is not would be an error that nobody can read, or none.
    """
    match targets.kind:
        case "classes":
            if values.dtype != torch.int64:
                return f"targets of the type {values.dtype}; they must be torch.int64"
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= targets.num_outputs:
                return f"the label {low if low < 0 else high}; there are {targets.num_outputs} classes, from 0"
            return None


def strata(values: Tensor, targets: Targets) -> Tensor:
    """Return what a part that is drawn has its share of, `(N,)` of labels: of classes each."""
    match targets.kind:
        case "classes":
            return values


def class_counts(values: Tensor, targets: Targets) -> list[int]:
    """Return how many of some samples each class has."""
    return torch.bincount(values, minlength=targets.num_outputs).tolist()
