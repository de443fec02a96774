"""Move samples from the host's memory to a GPU, by copies that overlap with its work."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from nnrun.core.device import Mark
from nnrun.core.seams.data import Tree


class PinnedRows:
    """Gather the rows of a batch in pinned memory, and copy them to the device from there.

    A copy from other memory makes the host wait. Two buffers alternate, so that the next batch is gathered while this
    one is copied.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turns = [_Turn(), _Turn()]

    def take(self, inputs: Tree, indices: Tensor) -> Tree:
        """Return the samples at `indices` of `inputs`, which are on the host, on the device.

        Waits for the device if it is two batches behind.
        """
        leaves, structure = tree_flatten(inputs)
        turn, other = self._turns
        self._turns = [other, turn]
        rows = turn.gather(leaves, indices)
        there = [row.to(self._device, non_blocking=True) for row in rows]
        turn.copied.set(self._device)
        return tree_unflatten(there, structure)


class _Turn:
    """A buffer for each tensor of a batch, and a mark at the end of its last copy."""

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self.copied = Mark()

    def gather(self, leaves: list[Tensor], indices: Tensor) -> list[Tensor]:
        """Return the rows at `indices` of each tensor, in the buffers."""
        self.copied.wait()  # waits for the copy of the last batch but one
        # Samples of different lengths are padded to the longest of the batch.
        rows = [None if isinstance(leaf, Tensor) else leaf.index_select(0, indices) for leaf in leaves]
        shapes = [
            (len(indices), *leaf.shape[1:]) if row is None else tuple(row.shape)
            for leaf, row in zip(leaves, rows, strict=True)
        ]
        if [tuple(buffer.shape) for buffer in self._buffers] != shapes:
            pairs = zip(leaves, shapes, strict=True)
            self._buffers = [torch.empty(shape, dtype=leaf.dtype, pin_memory=True) for leaf, shape in pairs]
        for leaf, row, buffer in zip(leaves, rows, self._buffers, strict=True):
            if row is None:
                torch.index_select(leaf, 0, indices, out=buffer)
            else:
                buffer.copy_(row)
        return self._buffers
