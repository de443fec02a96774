"""A short hash of each sample, by which the same one is found again: of its values, and of what it is by itself."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

DIGEST_BYTES = 8
# Samples that are hashed at a time, so that what lies in a file is never in memory as a whole.
_CHUNK_SAMPLES = 1000
# Of larger samples, checksums of so many bytes are hashed: all of a photograph takes longer than decoding it.
_STRIP_BYTES, _MOST_BYTES = 2**12, 2**14


def whole(values: Any) -> bytes:
    """Return a hash of a buffer, which tells all that differ apart: DIGEST_BYTES bytes."""
    return hashlib.blake2b(values, digest_size=DIGEST_BYTES).digest()


def identity(channels: Sequence[Any]) -> bytes:
    """Return a hash of a sample's channels, buffers of bytes, by which it is known in any data: DIGEST_BYTES bytes.

    That is the hash of all of them together; of a large sample that of the CRC-32 of each strip of each channel, which
    takes an eighth of the time, and is nobody's proof.
    """
    if sum(map(len, channels)) <= _MOST_BYTES:
        return whole(b"".join(channels))
    sums = b"".join(
        zlib.crc32(memoryview(channel)[start : start + _STRIP_BYTES]).to_bytes(4, "little")
        for channel in channels
        for start in range(0, len(channel), _STRIP_BYTES)
    )
    return whole(sums)


def as_tensor(found: bytes) -> Tensor:
    """Return hashes, one after the other, as int64 `(N,)`."""
    return torch.frombuffer(bytearray(found), dtype=torch.int64) if found else torch.empty(0, dtype=torch.int64)


def digests(samples: Tensor) -> Tensor:
    """Return a hash of the values of each sample, int64 `(N,)`."""
    rows = samples.contiguous().reshape(len(samples), -1).view(torch.uint8).numpy() if len(samples) else ()
    return as_tensor(b"".join(map(whole, rows)))


def identities(samples: Tensor) -> Tensor:
    """Return `identity` of each sample of `(N, C, ...)`, or of `(N, L)`, int64 `(N,)`; of small ones their digests."""
    if len(samples) == 0 or samples[0].nbytes <= _MOST_BYTES:
        return digests(samples)
    channels = samples.contiguous().flatten(2) if samples.dim() > 2 else samples.contiguous()[:, None]
    return as_tensor(b"".join(identity(list(row)) for row in channels.view(torch.uint8).numpy()))


def tree_digests(tree: Any, hashed: Callable[[Tensor], Tensor] = digests) -> Tensor:
    """Return a hash of each sample of a tree, all the tensors that it is made of together, int64 `(N,)`."""
    columns = []
    for leaf in tree_leaves(tree):
        starts = range(0, len(leaf), _CHUNK_SAMPLES)
        columns.append(
            torch.cat([hashed(leaf[start : start + _CHUNK_SAMPLES]) for start in starts] or [digests(torch.empty(0))])
        )
    return columns[0] if len(columns) == 1 else digests(torch.stack(columns, dim=1))
