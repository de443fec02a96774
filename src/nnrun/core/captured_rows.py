"""What a captured step reads and writes on the device beside the training's state: the order of samples, and losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nnrun.core.batches import SplitBatches
from nnrun.core.progress import Place
from nnrun.core.seams.data import Tree

# Losses that wait on the device to be looked at: as many as the watch keeps one by one.
NUM_LOSSES = 256


class Rows:
    """The batches of a split for a captured step, which gathers them itself: only their numbers are yielded."""

    def __init__(self, train: SplitBatches) -> None:
        self._train = train
        self.num_samples, self.batch_size, self.num_batches = train.num_samples, train.batch_size, train.num_batches
        self.device, self.is_augmented = train.device, train.is_augmented
        self.placed = train.order(0)
        # The next batch, `(1,)`.
        self.at = torch.zeros(1, dtype=torch.int64, device=train.device)

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, B)`."""
        return self._train.order(epoch)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, not augmented."""
        return self._train.take(indices)

    def num_in(self, index: int) -> int:
        """Return the number of samples in a batch, without padding."""
        return min(self.batch_size, self.num_samples - index * self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Put the order of an epoch in its place, and yield the numbers of its batches."""
        self.placed.copy_(self.order(epoch))
        self.at.fill_(start)
        yield from range(start, self.num_batches)


class Notes:
    """Stands in for the watch while a step is recorded: keeps losses on the device."""

    def __init__(self, device: torch.device) -> None:
        self.losses = torch.zeros(NUM_LOSSES, device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)

    def note(self, number: Tensor, place: Place) -> None:
        """Keep a number; the host passes it on, with its own place."""
        self.losses.index_copy_(0, self.at, number.detach().float().view(1))
        self.at.add_(1).remainder_(NUM_LOSSES)
