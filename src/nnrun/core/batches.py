"""The batches of a split, a pure function of (seed, epoch, index); their order is the same wherever the samples lie."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nnrun.base.foreign_errors import calling
from nnrun.base.host import fits_in_memory
from nnrun.core.augmenter import Augmenter
from nnrun.core.pinned import PinnedRows
from nnrun.core.randomness import permutation
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.data import Preprocessing, Split, Tree
from nnrun.core.workers.crew import Crew, in_order


@dataclass(frozen=True)
class Layout:
    """How batches come to the device: from where, in which memory layout, by how many processes."""

    device: torch.device
    channels_last: bool = False
    residency: str = "device"
    num_workers: int = 0


class ResidentBatches:
    """Take batches out of tensors that lie on the device, or in the host's memory: no workers, no work per sample.

    `shuffle_seed` None keeps the samples' own order, for evaluation. A last batch that is short is filled up with the
    first samples of the order, so that BatchNorm sees real ones, and their weight is 0.
    """

    def __init__(
        self, split: Split, preprocessing: Preprocessing, batch_size: int, shuffle_seed: int | None, layout: Layout
    ) -> None:
        self.num_samples = len(split)
        self.batch_size = min(batch_size, self.num_samples)
        self.num_batches = -(-self.num_samples // self.batch_size)
        self._preprocessing = preprocessing
        self._shuffle_seed = shuffle_seed
        self._layout = layout
        self._home = layout.device if layout.residency == "device" else torch.device("cpu")
        self._source = split
        self._placed: Split | None = None
        is_copied = layout.residency == "memory" and layout.device.type == "cuda" and torch.cuda.is_available()
        self._pinned = PinnedRows(layout.device) if is_copied else None
        self._ones = torch.ones(self.batch_size, device=layout.device)
        # What changes the batches of a training; those of an evaluation have none.
        self.augmenter: Augmenter | None = None

    @property
    def _split(self) -> Split:
        """The samples where they are to lie."""
        if self._placed is None:
            inputs = tree_map(lambda tensor: tensor.to(self._home), self._source.inputs)
            self._placed = Split(inputs, self._source.targets.to(self._home))
        return self._placed

    def release(self) -> None:
        """Give up the place that the samples take on the device, until a batch is asked for again."""
        self._placed = None

    def order(self, epoch: int) -> Tensor:
        """Return the sample indices of each batch of an epoch, `(num_batches, batch_size)`, where the samples lie."""
        if self._shuffle_seed is None:
            order = torch.arange(self.num_samples)
        else:
            order = permutation(self.num_samples, self._shuffle_seed, epoch)
        padding = self.num_batches * self.batch_size - self.num_samples
        return torch.cat([order, order[:padding]]).view(self.num_batches, self.batch_size).to(self._home)

    def take(self, indices: Tensor) -> tuple[Tree, Tensor]:
        """Return the network's inputs and the targets of the samples at `indices`, on the device, not augmented."""
        return self._laid_out(self._preprocessed(self._on_device(self._raw(indices)))), self._targets(indices)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        order = self.order(epoch)[start:]
        targets = self._targets(order.flatten()).view(order.shape)
        with closing(self._raws(order)) as raws:
            for index, (raw, row) in enumerate(zip(raws, targets, strict=True), start):
                yield self.prepare(raw, row, epoch, index)

    def _raws(self, order: Tensor) -> Generator[Tree, None, None]:
        """Yield the raw samples of each row of an order."""
        for indices in order:
            yield self._raw(indices)

    def prepare(self, raw: Tree, targets: Tensor, epoch: int, index: int) -> Batch:
        """Bring the raw samples of a batch to the device; there augment them, if that is wanted, and preprocess them.

        The draws are seeded first. What comes after that asks for no value: a CUDA graph can capture it.
        """
        num_samples = min(self.batch_size, self.num_samples - index * self.batch_size)
        weight, is_full = self._weight(num_samples), num_samples == self.batch_size
        raw = self._on_device(raw)
        if self.augmenter is None:
            return Batch(self._laid_out(self._preprocessed(raw)), targets, weight, num_samples, None, is_full)
        self.augmenter.seed(epoch, index)
        inputs = self._preprocessed(self.augmenter.augment(raw))
        inputs, mixed = self.augmenter.mix(inputs, targets, weight)
        return Batch(self._laid_out(inputs), targets, weight, num_samples, mixed, is_full)

    def _raw(self, indices: Tensor) -> Tree:
        """Return the raw samples at `indices`, on the device or where the samples lie."""
        if self._pinned is not None:
            return self._pinned.take(self._split.inputs, indices)
        return tree_map(lambda tensor: tensor.index_select(0, indices), self._split.inputs)

    def _targets(self, indices: Tensor) -> Tensor:
        """Return the targets at `indices`, on the device."""
        return self._split.targets.index_select(0, indices).to(self._layout.device)

    def _on_device(self, raw: Tree) -> Tree:
        """Return samples on the device."""
        return tree_map(lambda tensor: tensor.to(self._layout.device, non_blocking=True), raw)

    def _preprocessed(self, raw: Tree) -> Tree:
        """Return the network's inputs for raw samples."""
        with calling("the preprocessing of data"):
            return self._preprocessing(raw)

    def _laid_out(self, inputs: Tree) -> Tree:
        """Return inputs in the memory layout that is wanted."""
        return tree_map(_channels_last, inputs) if self._layout.channels_last else inputs

    def _weight(self, num_samples: int) -> Tensor:
        """Return the weight of each sample of a batch, `(B,)`, of which so many are no padding."""
        if num_samples == self.batch_size:
            return self._ones
        weight = torch.zeros_like(self._ones)
        weight[:num_samples] = 1
        return weight


class StreamedBatches(ResidentBatches):
    """Have processes bring the same batches in the same order, for data that does not fit in memory."""

    def _raws(self, order: Tensor) -> Generator[Tree, None, None]:
        """Yield the raw samples of each row of an order; the processes start with the first."""
        crew = Crew(
            self._layout.num_workers,
            "reads data ahead",
            "try fewer data.num_workers, or data.residency=memory",
            pin_memory=self._layout.device.type == "cuda",
        )
        rows: Any = order
        with closing(in_order(self._split.take, rows, crew)) as taken:
            for raw, _ in taken:
                yield raw


def make_batches(
    split: Split, preprocessing: Preprocessing, batch_size: int, shuffle_seed: int | None, layout: Layout
) -> ResidentBatches:
    """Return the batches of a split for a residency that `choose_residency` returned."""
    kind = StreamedBatches if layout.residency == "stream" else ResidentBatches
    return kind(split, preprocessing, batch_size, shuffle_seed, layout)


def choose_residency(wanted: str, num_bytes: int, device: torch.device) -> str:
    """Return where the samples lie: on the device if they fill at most half of what is free there, else in memory.

    What would fill more than half of the memory too is streamed.
    """
    if wanted != "auto":
        return wanted
    if not fits_in_memory(num_bytes):
        return "stream"
    if device.type == "cuda" and num_bytes > torch.cuda.mem_get_info(device)[0] // 2:
        return "memory"
    return "device"


def _channels_last(tensor: Tensor) -> Tensor:
    """Return images, `(N, C, H, W)`, with their channels last in memory; other tensors as they are."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
