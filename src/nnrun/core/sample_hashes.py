"""A short hash of each sample, to recognize the same sample: of its values, and of its original content."""

from __future__ import annotations

import functools
import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

DIGEST_BYTES = 8
# Samples that are hashed at a time, so that a file is never in memory as a whole.
_CHUNK_SAMPLES = 1000
# Fewer digests are compared by sorting; of more, those that cannot match are removed first.
_FEW = 2**14
# Digests that are looked up at a time: their temporaries stay in the processor's cache.
_LOOKED_UP = 2**16
# How many bits of a digest are compared, beyond those that it takes to number the digests.
_MORE_BITS = 4
# For samples above the second, checksums of strips of the first are hashed: hashing a whole photograph takes longer
# than decoding it.
_STRIP_BYTES, _MOST_BYTES = 2**12, 2**14


def whole(values: Any) -> bytes:
    """Return a cryptographic hash of a buffer: DIGEST_BYTES bytes."""
    return hashlib.blake2b(values, digest_size=DIGEST_BYTES).digest()


def identity(channels: Sequence[Any]) -> bytes:
    """Return a hash of a sample's channels, buffers of bytes, to recognize it in any data: DIGEST_BYTES bytes.

    For a small sample it is the hash of all channels together; for a large one, of the CRC-32 of each strip of each
    channel, which takes an eighth of the time and is not cryptographic.
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
    """Return concatenated hashes as int64 `(N,)`."""
    return torch.frombuffer(bytearray(found), dtype=torch.int64) if found else torch.empty(0, dtype=torch.int64)


def digests(samples: Tensor) -> Tensor:
    """Return a hash of the values of each sample, int64 `(N,)`."""
    if samples.numel() == 0:
        return as_tensor(whole(b"") * len(samples))
    rows = samples.contiguous().reshape(len(samples), -1).view(torch.uint8)
    hashed = functools.partial(hashlib.blake2b, digest_size=DIGEST_BYTES)
    # Hashing a copy of each row as bytes is faster than hashing a view of it.
    each = struct.iter_unpack(f"{rows.shape[1]}s", rows.numpy().data)
    return as_tensor(b"".join([hashed(row).digest() for (row,) in each]))


def is_small(samples: Tensor) -> bool:
    """Return whether samples are so small that their digests are also their identities."""
    return len(samples) == 0 or samples[0].nbytes <= _MOST_BYTES


def identities(samples: Tensor) -> Tensor:
    """Return `identity` of each sample of `(N, C, ...)`, or of `(N, L)`, int64 `(N,)`; for small ones, the digests."""
    if is_small(samples):
        return digests(samples)
    channels = samples.contiguous().flatten(2) if samples.dim() > 2 else samples.contiguous()[:, None]
    return as_tensor(b"".join(identity(list(row)) for row in channels.view(torch.uint8).numpy()))


def tree_digests(tree: Any, hashed: Callable[[Tensor], Tensor] = digests) -> Tensor:
    """Return a hash of each sample of a tree, over all of its tensors together, int64 `(N,)`."""
    columns = []
    for leaf in tree_leaves(tree):
        starts = range(0, len(leaf), _CHUNK_SAMPLES)
        columns.append(
            torch.cat([hashed(leaf[start : start + _CHUNK_SAMPLES]) for start in starts] or [digests(torch.empty(0))])
        )
    return columns[0] if len(columns) == 1 else digests(torch.stack(columns, dim=1))


def among(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return which of our digests are among theirs, as booleans `(N,)`, in linear time.

    The result is that of `torch.isin`, which sorts both. Digests look random: a few of their bits rule out most of
    those without a match, and only the others are sorted.
    """
    if len(ours) < _FEW or len(theirs) < _FEW:
        return torch.isin(ours, theirs)
    found = _may_be_among(ours, theirs)
    places = found.nonzero()[:, 0]
    few = ours[places]
    found[places] = torch.isin(few, theirs[_may_be_among(theirs, few)])
    return found


def _may_be_among(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return which of our digests share their lower bits with some of theirs, as booleans."""
    mask = 2 ** (len(theirs).bit_length() + _MORE_BITS) - 1
    is_there = torch.zeros(mask + 1, dtype=torch.bool)
    for part in theirs.split(_LOOKED_UP):
        is_there[part & mask] = True
    found = torch.empty(len(ours), dtype=torch.bool)
    for part, place in zip(ours.split(_LOOKED_UP), found.split(_LOOKED_UP), strict=True):
        torch.index_select(is_there, 0, part & mask, out=place)
    return found
