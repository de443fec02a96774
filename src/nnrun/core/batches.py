"""The batches of a split, a pure function of (seed, epoch, index), in the same order wherever the samples are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import torch
from torch import Tensor

from nnrun.base.foreign_errors import calling
from nnrun.core.augmenter import Augmenter
from nnrun.core.residency import ResidentSamples
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Preprocessing, Tree


class SplitBatches:
    """Make batches of the samples of a split, on the device: this rank's slice of each.

    `shuffle_seed` None keeps the samples' own order, for evaluation. A short last batch is padded with the first
    samples of the order, so that BatchNorm sees real ones; their weight is 0. `augmenter` changes training batches.
    """

    def __init__(
        self,
        samples: ResidentSamples,
        preprocessing: Preprocessing,
        batch_size: int,
        shuffle_seed: int | None = None,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.samples = samples
        self.num_samples = len(samples)
        self.batch_size = min(batch_size, self.num_samples)
        self.num_batches = -(-self.num_samples // self.batch_size)
        self.device = samples.layout.device
        self.is_augmented = augmenter is not None
        self.augmenter = augmenter
        self.preprocessing = preprocessing
        self.shuffle_seed = shuffle_seed
        self._layout = samples.layout
        self._share = samples.layout.world.share(self.batch_size)
        self._numbers = torch.arange(self.batch_size, device=samples.layout.device)[self._share]
        self._ones = torch.ones_like(self._numbers, dtype=torch.float32)

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, B)`, on the samples' device."""
        order = self.samples.order(self.shuffle_seed, epoch, self.batch_size)
        padding = self.num_batches * self.batch_size - len(order)
        order = torch.cat([order, order[:padding]]).view(self.num_batches, self.batch_size)
        return order[:, self._share].to(self.samples.home)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, on the device, not augmented."""
        raw = self._layout.on_device(self.samples.inputs(indices))
        return self._layout.arranged(self._preprocessed(raw)), self.samples.targets(indices)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        order = self.order(epoch)[start:]
        targets = self.samples.targets(order.flatten()).unflatten(0, order.shape)
        with closing(self.samples.rows(order)) as raws:
            for index, (raw, row) in enumerate(zip(raws, targets, strict=True), start):
                if self.augmenter is not None:
                    self.augmenter.seed(epoch, self._layout.world.stream(index))
                yield self.assemble(raw, row, min(self.batch_size, self.num_samples - index * self.batch_size))

    def assemble(self, raw: Tree, targets: Tensor, of_all: int) -> Batch:
        """Return a batch, augmented and preprocessed, of which `of_all` are no padding: a graph can capture this."""
        num_samples = len(range(of_all)[self._share])
        is_full = num_samples == len(self._ones)
        weight = self._ones if is_full else (self._numbers < of_all).float()
        raw = self._layout.on_device(raw)
        if self.augmenter is None:
            return Batch(self._layout.arranged(self._preprocessed(raw)), targets, weight, num_samples, None, is_full)
        inputs = self._preprocessed(self.augmenter.augment(raw))
        inputs, mixed = self.augmenter.mix(inputs, targets, weight, is_full=is_full)
        return Batch(self._layout.arranged(inputs), targets, weight, num_samples, mixed, is_full)

    def _preprocessed(self, raw: Tree) -> Tree:
        """Return the network's inputs for raw samples."""
        with calling("the preprocessing of data"):
            return self.preprocessing(raw)
