"""Move samples from the host's memory to a GPU, by copies that overlap with its work."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

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
        # Samples of different lengths are padded to the longest of the batch, before they are copied.
        made = tree_map(
            lambda leaf: leaf if isinstance(leaf, Tensor) else tree_map(_Made, leaf.index_select(0, indices)), inputs
        )
        leaves, structure = tree_flatten(made)
        turn, other = self._turns
        self._turns = [other, turn]
        rows = turn.gather(leaves, indices)
        there = [row.to(self._device, non_blocking=True) for row in rows]
        turn.copied.set(self._device)
        return tree_unflatten(there, structure)


class _Made:
    """The rows of a batch, of samples that are no tensor."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows


class _Turn:
    """A buffer for each tensor of a batch, and a mark at the end of its last copy."""

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self.copied = Mark()

    def gather(self, leaves: list[Tensor | _Made], indices: Tensor) -> list[Tensor]:
        """Return the rows at `indices` of each tensor, in the buffers."""
        self.copied.wait()  # waits for the copy of the last batch but one
        forms = [
            (tuple(leaf.rows.shape), leaf.rows.dtype)
            if isinstance(leaf, _Made)
            else ((len(indices), *leaf.shape[1:]), leaf.dtype)
            for leaf in leaves
        ]
        if [(tuple(buffer.shape), buffer.dtype) for buffer in self._buffers] != forms:
            self._buffers = [torch.empty(shape, dtype=dtype, pin_memory=True) for shape, dtype in forms]
        for leaf, buffer in zip(leaves, self._buffers, strict=True):
            if isinstance(leaf, _Made):
                buffer.copy_(leaf.rows)
            else:
                torch.index_select(leaf, 0, indices, out=buffer)
        return self._buffers
