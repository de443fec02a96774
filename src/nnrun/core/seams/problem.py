"""What kind of learning a run is: its losses, its metrics, and what its predictions mean."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.core.seams.batch import Batch

Sums = dict[str, Tensor]


class Metric(Protocol):
    """Sums that live on the device, add up over batches and over ranks, and are read once."""

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        ...

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        ...

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name. Waits for the device."""
        ...


class Problem(Protocol):
    """What kind of learning a run is: its loss, its metrics, its predictions; `headline` is the metric to quote."""

    headline: str
    train_metric: Metric
    eval_metric: Metric

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, `(N,)`."""
        ...

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return what the summary says of a test beyond the metrics, as plain values."""
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the headline metric of one network's outputs on a whole split."""
        ...

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether two networks' outputs mean the same prediction, `(N,)` of bool."""
        ...

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return outputs as probabilities, of the same shape."""
        ...

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return what two networks say of one sample, as plain values."""
        ...


def losses_of(problem: Problem, outputs: Tensor, batch: Batch) -> Tensor:
    """Return the loss of each sample, `(N,)`; of one that is mixed, those of both targets by their shares."""
    losses = problem.losses(outputs, batch.targets)
    if batch.mixed is None:
        return losses
    return torch.lerp(problem.losses(outputs, batch.mixed.targets), losses, batch.mixed.share)


def mean_loss(losses: Tensor, batch: Batch, num_samples: int) -> Tensor:
    """Return a batch's part of the mean over an update's samples; padding has no part in it."""
    if batch.is_full:
        return losses.mean() if num_samples == batch.num_samples else losses.sum() / num_samples
    return (losses * batch.weight).sum() / num_samples
