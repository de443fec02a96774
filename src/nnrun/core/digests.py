"""A short hash of each sample, by which the same one is found again."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

DIGEST_BYTES = 8
# Samples that are hashed at a time, so that what lies in a file is never in memory as a whole.
_CHUNK_SAMPLES = 1000


def digests(samples: Tensor) -> Tensor:
    """Return a hash of the values of each sample, int64 `(N,)`."""
    rows = samples.contiguous().flatten(1).view(torch.uint8).numpy() if len(samples) else ()
    found = b"".join(hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in rows)
    return torch.frombuffer(bytearray(found), dtype=torch.int64) if found else torch.empty(0, dtype=torch.int64)


def tree_digests(tree: Any) -> Tensor:
    """Return a hash of each sample of a tree, all the tensors that it is made of together, int64 `(N,)`."""
    columns = []
    for leaf in tree_leaves(tree):
        starts = range(0, len(leaf), _CHUNK_SAMPLES)
        columns.append(
            torch.cat([digests(leaf[start : start + _CHUNK_SAMPLES]) for start in starts] or [digests(torch.empty(0))])
        )
    return columns[0] if len(columns) == 1 else digests(torch.stack(columns, dim=1))
