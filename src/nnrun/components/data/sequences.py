"""Sequences of different lengths in the samples of a map-style Dataset: flat, and their lengths beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from nnrun.base.errors import DataError
from nnrun.core.ragged import PADDING, Ragged
from nnrun.core.sample_hashes import as_tensor, whole
from nnrun.core.trees import ALONE

# What the tensor of the lengths is called: with the name of the sequence before it, where there are several.
LENGTHS = "lengths"


@dataclass(frozen=True)
class Packed:
    """A tree of samples with sequences, a digest of each, the names of the lengths, and the facts for networks."""

    tree: Any
    digests: Tensor
    lengths: Mapping[str, str]
    facts: Mapping[str, Any]


def packed_sequences(
    called: str, columns: Mapping[str, Sequence[Tensor]], sequences: Sequence[str], spec: TreeSpec
) -> Packed:
    """Return samples, given as the tensors of each name, as a tree in which the lengths of sequences are tensors too.

    A sample that is one sequence of whole numbers stays alone: 0 is its padding, as for texts.
    """
    leaves: dict[str, Any] = {
        name: _ragged(column) if name in sequences else torch.stack(list(column)) for name, column in columns.items()
    }
    digests = as_tensor(b"".join(whole(_content(row)) for row in zip(*columns.values(), strict=True)))
    whole_numbers = {name: leaves[name] for name in sequences if not leaves[name].dtype.is_floating_point}
    facts = {}
    if len(whole_numbers) == 1:
        ((name, only),) = whole_numbers.items()
        values = only.flat()
        facts = {"vocab_size": int(values.max()) + 1 if len(values) else 1}
        if name == ALONE:
            if len(values) and int(values.min()) <= PADDING:
                raise DataError(
                    f"{called}: a sequence contains {int(values.min())}, but 0 is its padding: use numbers from 1, or "
                    'return a dict, as in {"tokens": sequence}, whose lengths are given to the network'
                )
            return Packed(only, digests, {}, facts)
    tree = tree_unflatten(list(leaves.values()), spec)
    tree = {ALONE: tree} if isinstance(tree, Ragged) else tree
    names: dict[str, str] = {}
    for name in sequences:
        added = LENGTHS if len(sequences) == 1 else f"{name}_{LENGTHS}"
        lengths = leaves[name].lengths
        if isinstance(tree, dict):
            if added in tree and not torch.equal(tree[added], lengths):
                raise DataError(
                    f"{called}: {added} are not the lengths of {name}, which are given to networks under it"
                )
            tree, names[name] = {**tree, added: lengths}, added
        else:
            names[name] = f"{ALONE}_{len(tree)}"
            tree = (*tree, lengths)
    return Packed(tree, digests, names, facts)


def _ragged(column: Sequence[Tensor]) -> Ragged:
    """Return sequences one after the other."""
    filled = next((one for one in column if one.numel()), column[0])
    values = torch.cat([one if one.numel() else filled[:0] for one in column])
    values = values if values.is_floating_point() else values.to(torch.int64)
    return Ragged.of(values, torch.tensor([len(one) for one in column], dtype=torch.int64))


def _content(tensors: Sequence[Tensor]) -> bytes:
    """Return the values and shapes of the tensors of a sample as bytes."""
    return b"".join(repr(tuple(one.shape)).encode() + one.contiguous().numpy().tobytes() for one in tensors)
