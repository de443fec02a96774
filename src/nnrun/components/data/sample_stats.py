"""Measures of each sample, taken while it is read, so that samples need not be read again for them.

A digest of its values, one of its original, and for each channel the sum of the values and of their squares. From these
follow the mean and deviation of any split, and which samples are in two splits.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.core.sample_hashes import digests, identities, is_small

MAX_PIXEL = 255
SHA256_BYTES = 32
_COLUMNS = ("digests", "originals", "sums", "squares")
# The possible types of sums; a file stores the index.
_TYPES = (torch.int64, torch.float64, torch.int32)
# Number of samples whose sums are added at a time.
_CHUNK_SAMPLES = 2**16
_WORD_BYTES = 8


@dataclass(frozen=True)
class Measures:
    """The digests of samples and of their originals, int64 `(N,)`; their sums and sums of squares by channel `(N, C)`.

    The sums are integers for uint8 samples, float64 for others. `num_values` is the number of values of a channel in a
    sample. Where samples are their own originals, both digests are one tensor.
    """

    digests: Tensor
    originals: Tensor
    sums: Tensor
    squares: Tensor
    num_values: int

    @classmethod
    def of(cls, samples: Tensor, originals: Tensor | None = None) -> Measures:
        """Measure samples `(N, C, ...)`; without `originals`, the samples are the originals."""
        exact = samples.dtype == torch.uint8
        flat = samples.flatten(2) if samples.dim() > 2 else samples[:, :, None]
        wide = flat.to(torch.int32 if exact else torch.float64)
        fits = MAX_PIXEL**2 * flat.shape[2] <= torch.iinfo(torch.int32).max
        total = (torch.int32 if fits else torch.int64) if exact else torch.float64
        sums, squares = wide.sum(2, dtype=total), wide.square().sum(2, dtype=total)
        found = digests(samples)
        if originals is None:
            originals = found if is_small(samples) else identities(samples)
        return cls(found, originals, sums, squares, flat.shape[2])

    @classmethod
    def together(cls, parts: Iterable[Measures], num_samples: int | None = None) -> Measures:
        """Return the measures of all parts, concatenated.

        With `num_samples`, each part is written to its place as it comes, so there is never a second copy.
        """
        if num_samples is None:
            parts = list(parts)
            num_samples = sum(map(len, parts))
        whole: Measures | None = None
        start = 0
        for part in parts:
            whole = part._room_for(num_samples) if whole is None else whole
            for name in _COLUMNS:
                if name != "originals" or not whole._are_their_own:
                    getattr(whole, name)[start : start + len(part)] = getattr(part, name)
            start += len(part)
        assert whole is not None
        assert start == num_samples, f"measured {start} of {num_samples} samples"
        return whole

    @property
    def _are_their_own(self) -> bool:
        """Whether the samples are their own originals."""
        return self.originals is self.digests

    def _room_for(self, num_samples: int) -> Measures:
        """Return uninitialized measures of this kind for a number of samples."""
        found, originals, sums, squares = (
            torch.empty(num_samples, *getattr(self, name).shape[1:], dtype=getattr(self, name).dtype)
            for name in _COLUMNS
        )
        return Measures(found, found if self._are_their_own else originals, sums, squares, self.num_values)

    def subset(self, indices: Tensor) -> Measures:
        """Return the measures of the samples at `indices`."""
        found, sums, squares = self.digests[indices], self.sums[indices], self.squares[indices]
        originals = found if self._are_their_own else self.originals[indices]
        return Measures(found, originals, sums, squares, self.num_values)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and standard deviation of each channel, to six digits; pixels are scaled to 0..1.

        A constant channel has a deviation of 0, which cannot be a divisor: it is replaced by 1.
        """
        scale = 1 if self.sums.is_floating_point() else MAX_PIXEL
        count = len(self.sums) * self.num_values
        means, stds = [], []
        for channel in range(self.sums.shape[1]):
            total, square = _total(self.sums[:, channel]), _total(self.squares[:, channel])
            mean = total / count
            variance = max(square / count - mean**2, 0.0)
            means.append(_rounded(mean / scale))
            stds.append(_rounded(math.sqrt(variance) / scale) or 1.0)
        return tuple(means), tuple(stds)

    def __len__(self) -> int:
        return len(self.digests)

    def packed(self) -> list[memoryview]:
        """Return the measures as buffers: a sha256 of the rest, and then words of eight bytes.

        The words are the numbers of samples, of channels and of values per channel, the type of the sums, and whether
        the originals have their own digests; then the digests, those of the originals, the sums and the squares, each
        padded with zeros to a whole word.
        """
        is_own = self._are_their_own
        head = torch.tensor([*self.sums.shape, self.num_values, _TYPES.index(self.sums.dtype), not is_own])
        columns = [getattr(self, name) for name in _COLUMNS if name != "originals" or not is_own]
        buffers, sha256 = [], hashlib.sha256()
        for column in (head, *columns):
            values = column.contiguous().view(-1).view(torch.uint8).numpy().data
            buffers += [values, memoryview(bytes(-values.nbytes % _WORD_BYTES))]
        for buffer in buffers:
            sha256.update(buffer)
        return [memoryview(sha256.digest()), *buffers]

    @classmethod
    def unpacked(cls, packed: Tensor) -> Measures:
        """Return the measures in the bytes of a file that `packed` made, uint8 `(B,)`, without a copy.

        Raises ValueError where they are damaged.
        """
        proof, words = packed[:SHA256_BYTES], packed[SHA256_BYTES:].view(torch.int64)
        if hashlib.sha256(words.numpy().data).digest() != proof.numpy().tobytes():
            raise ValueError("damaged measures")
        num_samples, num_channels, num_values, kind, has_originals = words[:5].tolist()
        dtype = _TYPES[kind]
        size = num_samples * num_channels
        size_words = -(-size * dtype.itemsize // _WORD_BYTES)
        of_originals = [num_samples] if has_originals else []
        _, found, *originals, sums, squares = words.split([5, num_samples, *of_originals, size_words, size_words])
        sums, squares = (column.view(dtype)[:size].view(num_samples, -1) for column in (sums, squares))
        return cls(found, originals[0] if originals else found, sums, squares, num_values)


def _total(values: Tensor) -> float:
    """Return the exact sum of integers `(N,)`, or the sum of floats, rounded once."""
    parts = values.split(_CHUNK_SAMPLES)
    if values.is_floating_point():
        return math.fsum(itertools.chain.from_iterable(part.tolist() for part in parts))
    return sum(int(part.sum(dtype=torch.int64)) for part in parts)


def _rounded(value: float) -> float:
    """Return a number rounded to six digits: the last bits of a long sum depend on the machine."""
    return float(f"{value:.6g}")
