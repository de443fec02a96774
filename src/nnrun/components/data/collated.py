"""Samples of a data set that makes a batch of several with its own `collate`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from nnrun.base.errors import DataError
from nnrun.base.foreign_errors import of_the_machine, place_of
from nnrun.core.sample_hashes import whole
from nnrun.core.seams.data import TensorSpec
from nnrun.core.trees import named_leaves

# Samples that are collated alone, to learn which dimensions of a batch differ.
_NUM_LOOKED_AT = 32


class Collated:
    """Stand in for a tree of tensors that a function makes of samples: a leaf of a tree that gives trees.

    `samples` are objects of any kind, in memory; `collate` takes a list of them and returns a tensor, or a tree of
    tensors, whose first dimension is the sample.
    """

    def __init__(
        self, samples: Sequence[Any], collate: Callable[[list[Any]], Any], called: str, spec: Any = None
    ) -> None:
        self._samples, self._collate, self._called = list(samples), collate, called
        # The shape and dtype of each tensor of a sample, as a tree; a dimension that differs is None.
        self.input_spec = self._found_spec() if spec is None else spec

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of samples; `input_spec` says the form of one."""
        return (len(self),)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int | slice | Tensor) -> Any:
        """Return the samples at an index as a batch; a single one as it is in one."""
        if isinstance(index, int):
            return tree_map(lambda leaf: leaf[0], self._made([self._samples[index]]))
        if isinstance(index, slice):
            return self._made(self._samples[index])
        return self._made([self._samples[place] for place in index.tolist()])

    def index_select(self, dim: int, indices: Tensor) -> Any:
        """Return the samples at `indices` as a batch. Waits for the device if the indices are there."""
        assert dim == 0, "the first dimension is the sample"
        return self[indices]

    def rows(self, order: Tensor) -> Iterator[Any]:
        """Yield the samples of each row of an order. Waits for the device once, at the start."""
        for places in order.tolist():
            yield self._made([self._samples[place] for place in places])

    def subset(self, indices: Tensor) -> Collated:
        """Return the samples at `indices`."""
        return Collated(
            [self._samples[place] for place in indices.tolist()], self._collate, self._called, self.input_spec
        )

    def loaded(self) -> Collated:
        """Return the samples in memory, as they are."""
        return self

    def to(self, _: torch.device) -> Collated:
        """Return the samples where they are: batches are made on the host."""
        return self

    @property
    def nbytes(self) -> int:
        """The memory that the samples take as batches of one."""
        some = self._samples[:_NUM_LOOKED_AT]
        sizes = [sum(leaf.nbytes for leaf in tree_leaves(self._made([sample]))) for sample in some]
        return sum(sizes) * len(self) // max(1, len(some))

    def _found_spec(self) -> Any:
        """Return the form of the samples, as far as some of them show it."""
        if not self._samples:
            return TensorSpec((), torch.float32)
        # Samples from the beginning and the end: those of a set may be sorted.
        half = _NUM_LOOKED_AT // 2
        made = [tree_flatten(self._made([sample])) for sample in (*self._samples[:half], *self._samples[-half:])]
        together = tree_flatten(self._made(self._samples[:half]))
        leaves = zip(*(of for of, _ in (*made, together)), strict=True)
        specs = [TensorSpec(_common([tuple(leaf.shape[1:]) for leaf in of]), of[0].dtype) for of in leaves]
        return tree_unflatten(specs, made[0][1])

    def _made(self, samples: list[Any]) -> Any:
        """Return samples as a batch; raise DataError where the function fails or returns anything else."""
        try:
            made = self._collate(samples)
        except Exception as error:
            if of_the_machine(error):
                raise
            reason = f"{type(error).__name__}: {error}{place_of(error)}"
            raise DataError(f"{self._called}: collate fails: {reason}") from error
        leaves = tree_leaves(made)
        wrong = [leaf for leaf in leaves if not isinstance(leaf, Tensor)]
        if wrong or not leaves or any(leaf.dim() == 0 or len(leaf) != len(samples) for leaf in leaves):
            found = (
                f"a {type(wrong[0]).__name__}"
                if wrong
                else ", ".join(f"{name} {tuple(leaf.shape)}" for name, leaf in named_leaves(made).items())
            )
            raise DataError(
                f"{self._called}: collate returns {found or 'nothing'} for a list of {len(samples)} x; it must return "
                "tensors with the sample first, alone or in a dict or tuple"
            )
        return made


def _common(shapes: Sequence[tuple[int, ...]]) -> tuple[int | None, ...]:
    """Return what several shapes have in common; None where they differ."""
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))


def digest_of(sample: Any) -> bytes:
    """Return a hash of a sample of any kind, by which it is recognized."""
    parts = []
    leaves, form = tree_flatten(sample)
    for leaf in leaves:
        if isinstance(leaf, Tensor) or hasattr(leaf, "__array__"):
            values = torch.as_tensor(leaf).contiguous()
            parts.append(repr((tuple(values.shape), str(values.dtype))).encode() + values.numpy().tobytes())
        elif isinstance(leaf, str | bytes | int | float | bool | None):
            parts.append(repr(leaf).encode("utf-8", "surrogatepass"))
        else:
            parts.append(pickle.dumps(leaf))
    return whole(b"\0".join([repr(form).encode("utf-8", "surrogatepass"), *parts]))
