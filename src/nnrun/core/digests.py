"""A short hash of each sample, by which the same one is found again."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

DIGEST_BYTES = 8


def digests(samples: Tensor) -> Tensor:
    """Return a hash of the values of each sample, int64 `(N,)`."""
    rows = samples.contiguous().flatten(1).view(torch.uint8).numpy() if len(samples) else ()
    found = b"".join(hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in rows)
    return torch.frombuffer(bytearray(found), dtype=torch.int64) if found else torch.empty(0, dtype=torch.int64)
