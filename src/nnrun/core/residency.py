"""Where the samples of a split are: on the device, in the host's memory, or in a file."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from nnrun.base.host import fits_in_memory
from nnrun.core.device import copies_beside, free_bytes, is_gpu
from nnrun.core.pinned import PinnedRows
from nnrun.core.ragged import by_length, lengths_of
from nnrun.core.randomness import BATCH_ORDER, generator, permutation
from nnrun.core.seams.data import Split, Tree
from nnrun.core.seams.world import World
from nnrun.core.workers.crew import Crew, in_order


@dataclass(frozen=True)
class Layout:
    """How batches get to the device: from where, in which memory layout, by how many processes, for which rank."""

    device: torch.device
    channels_last: bool = False
    residency: str = "device"
    num_workers: int = 0
    world: World = field(default_factory=World)

    def on_device(self, raw: Tree) -> Tree:
        """Return samples moved to the device."""
        return tree_map(lambda tensor: tensor.to(self.device, non_blocking=True), raw)

    def arranged(self, inputs: Tree) -> Tree:
        """Return inputs in the wanted memory layout."""
        return tree_map(_channels_last, inputs) if self.channels_last else inputs


class ResidentSamples:
    """Samples in tensors on the device, or in the host's memory: no workers, no work per sample."""

    def __init__(self, split: Split, layout: Layout) -> None:
        self._source = split
        self.layout = layout
        self._placed: Split | None = None
        self.home = layout.device if layout.residency == "device" else torch.device("cpu")
        is_copied = layout.residency == "memory" and copies_beside(layout.device)
        self._pinned = PinnedRows(layout.device) if is_copied else None

    def __len__(self) -> int:
        return len(self._source)

    @property
    def placed(self) -> Split:
        """The samples at their place."""
        if self._placed is None:
            inputs = tree_map(lambda tensor: tensor.to(self.home), self._source.inputs)
            self._placed = Split(inputs, self._source.targets.to(self.home))
        return self._placed

    def release(self) -> None:
        """Free the samples' memory on the device, until they are used again."""
        self._placed = None

    def inputs(self, indices: Tensor) -> Tree:
        """Return the raw samples at `indices`, on the device or at their place."""
        if self._pinned is not None:
            return self._pinned.take(self.placed.inputs, indices)
        return tree_map(lambda tensor: tensor.index_select(0, indices), self.placed.inputs)

    def targets(self, indices: Tensor) -> Tensor:
        """Return the targets at `indices`, on the device."""
        return self.placed.targets.index_select(0, indices).to(self.layout.device)

    def order(self, seed: int | None, epoch: int, batch_size: int) -> Tensor:
        """Return the order of an epoch's samples, `(N,)`, on the host: their own if `seed` is None.

        Samples of different lengths are shuffled so that those of a batch have similar lengths.
        """
        if seed is None:
            return torch.arange(len(self))
        order, lengths = permutation(len(self), seed, epoch), lengths_of(self._source.inputs)
        shuffling = generator(BATCH_ORDER, seed, epoch)
        return order if lengths is None else by_length(order, lengths, batch_size, shuffling)

    def rows(self, order: Tensor) -> Generator[Tree, None, None]:
        """Yield the raw samples of each row of an order. Waits for the device at the start, if lengths differ."""
        if self._pinned is not None:
            for indices in order:
                yield self.inputs(indices)
            return
        leaves, structure = tree_flatten(self.placed.inputs)
        columns = [leaf.rows(order) if hasattr(leaf, "rows") else _rows(leaf, order) for leaf in leaves]
        for parts in zip(*columns, strict=True):
            yield tree_unflatten(list(parts), structure)


class StreamedSamples(ResidentSamples):
    """Samples that do not fit in memory: processes read them ahead of their turn."""

    def rows(self, order: Tensor) -> Generator[Tree, None, None]:
        """Yield the raw samples of each row of an order; the processes start when the first is asked for."""
        crew = Crew(
            self.layout.num_workers,
            "reads data ahead",
            "try fewer data.num_workers, or data.residency=memory",
            pin_memory=is_gpu(self.layout.device),
        )
        indices: Any = order
        with closing(in_order(self.placed.take, indices, crew)) as taken:
            for raw, _ in taken:
                yield raw


def samples_at(split: Split, layout: Layout) -> ResidentSamples:
    """Return the samples of a split, at the place that `choose_residency` returned."""
    return StreamedSamples(split, layout) if layout.residency == "stream" else ResidentSamples(split, layout)


def choose_residency(wanted: str, num_bytes: int, device: torch.device) -> str:
    """Return where to keep the samples: on the device if they take at most half of its free memory, else in memory.

    Samples that would take more than half of the host's memory are streamed.
    """
    if wanted != "auto":
        return wanted
    if not fits_in_memory(num_bytes):
        return "stream"
    free = free_bytes(device)
    return "device" if free is None or num_bytes <= free // 2 else "memory"


def _rows(samples: Tensor, order: Tensor) -> Iterator[Tensor]:
    """Yield the samples of each row of an order."""
    return (samples.index_select(0, indices) for indices in order)


def _channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor `(N, C, H, W)` with its channels last in memory; others unchanged."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
