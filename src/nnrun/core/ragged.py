"""Samples of different lengths: flat in one tensor, with the place of each, and padded only when a batch is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

# A batch is padded to a multiple of this: kernels are faster, and fewer sizes of memory are asked for.
MULTIPLE = 8
# The usual value of padding: no value of a sample equals it, so that a network can tell which are which.
PADDING = 0
# The number of batches whose samples are sorted by length together. More of them would need less padding, and make the
# batches of different epochs more alike.
_POOL_BATCHES = 64


class Ragged:
    """Stand in for a tensor `(N, L)`, or `(N, L, ...)`, whose rows have different lengths.

    `values` are those of all rows, flat, in any order of the rows; row `i` has `lengths[i]` of them, from `starts[i]`
    on. Rows that are asked for come as a tensor `(B, L, ...)`, whole numbers as int64, filled up with `padding`: `L` is
    the length of the longest of them, rounded up to a multiple of 8. The lengths stay on the host, so that nothing
    waits for the device.
    """

    def __init__(self, values: Tensor, starts: Tensor, lengths: Tensor, padding: int = PADDING) -> None:
        assert len(starts) == len(lengths), "each row has a start and a length"
        # At least one value, so that there is something to gather where all rows are empty.
        self._values = values if len(values) else values.new_zeros(1)
        self._starts, self.lengths = starts, lengths
        self._lengths_there, self.padding = lengths, padding
        self.dtype = values.dtype if values.is_floating_point() else torch.int64

    @classmethod
    def of(cls, values: Tensor, lengths: Tensor, padding: int = PADDING) -> Ragged:
        """Return rows that lie one after the other."""
        return cls(values, lengths.cumsum(0) - lengths, lengths, padding)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The number of samples, and the length of one: None, since it differs."""
        return (len(self), None, *self._values.shape[1:])

    @property
    def nbytes(self) -> int:
        """The memory that the samples take."""
        return self._values.nbytes + self._starts.nbytes + self.lengths.nbytes

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        """Return the rows at an index, padded; a single one as it is."""
        if isinstance(index, int):
            return self.index_select(0, torch.tensor([index]))[0, : int(self.lengths[index])]
        return self.index_select(0, torch.arange(len(self))[index])

    def index_select(self, dim: int, indices: Tensor) -> Tensor:
        """Return the rows at `indices`, padded. Waits for the device if they are there."""
        assert dim == 0, "the first dimension is the sample"
        return self.padded(indices, self.width(indices.cpu()))

    def width(self, indices: Tensor) -> int:
        """Return the length to which the rows at `indices`, on the host, are padded."""
        longest = int(self.lengths[indices].max()) if len(indices) else 0
        return max(1, -(-longest // MULTIPLE)) * MULTIPLE

    def rows(self, order: Tensor) -> Iterator[Tensor]:
        """Yield the samples of each row of an order, padded. Waits for the device once, at the start."""
        widths = [self.width(indices) for indices in order.cpu()]
        for indices, width in zip(order, widths, strict=True):
            yield self.padded(indices, width)

    def padded(self, indices: Tensor, width: int) -> Tensor:
        """Return the rows at `indices`, `(B, width)`, on the device of the samples."""
        places = torch.arange(width, device=indices.device)
        is_there = places < self._lengths_there[indices][:, None]
        found = self._values[torch.where(is_there, self._starts[indices][:, None] + places, 0)]
        is_there = is_there.reshape(*is_there.shape, *[1] * (found.dim() - 2))
        return torch.where(is_there, found, self.padding).to(self.dtype)

    def flat(self) -> Tensor:
        """Return the values of the rows, one after the other, without padding."""
        places = torch.arange(int(self.lengths.sum())) - (self.lengths.cumsum(0) - self.lengths).repeat_interleave(
            self.lengths
        )
        return self._values[self._starts.repeat_interleave(self.lengths) + places]

    def subset(self, indices: Tensor) -> Ragged:
        """Return the rows at `indices`; the values are shared."""
        return Ragged(self._values, self._starts[indices], self.lengths[indices], self.padding)

    def loaded(self) -> Ragged:
        """Return the samples in memory, as they are."""
        return self

    def to(self, device: torch.device) -> Ragged:
        """Return the samples on a device; their lengths are also on the host."""
        there = Ragged(self._values.to(device), self._starts.to(device), self.lengths, self.padding)
        there._lengths_there = self.lengths.to(device)
        return there


def lengths_of(tree: Any) -> Tensor | None:
    """Return the length of each sample of a tree, all of its sequences together, `(N,)` on the host.

    None if all samples have the same shape.
    """
    lengths = [leaf.lengths for leaf in tree_leaves(tree) if isinstance(leaf, Ragged)]
    return torch.stack(lengths).sum(0) if lengths else None


def by_length(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """Return an order of samples in which those of a batch have similar lengths, and the batches are shuffled.

    The samples of each pool of batches are sorted by length. Those of a short last batch stay where they are.
    """
    num_whole = len(order) // batch_size * batch_size
    pools = order[:num_whole].split(batch_size * _POOL_BATCHES)
    in_order = [pool[lengths[pool].argsort(stable=True)] for pool in pools]
    batches = torch.cat([*in_order, order[:0]]).view(-1, batch_size)
    shuffled = batches[torch.randperm(len(batches), generator=generator)]
    return torch.cat([shuffled.flatten(), order[num_whole:]])
