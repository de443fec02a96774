"""What is measured of each sample while it is read, so that nothing need be read again for it.

A digest of its values, one of what it was before it was brought to its form, and for each channel the sum of the
values and that of their squares: means and deviations of any part follow, and which samples are in two parts.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.core.sample_hashes import digests, identities

MAX_PIXEL = 255
SHA256_BYTES = 32
_COLUMNS = ("digests", "originals", "sums", "squares")


@dataclass(frozen=True)
class Measures:
    """The digests of samples and of their originals, int64 `(N,)`; their sums and sums of squares by channel `(N, C)`.

    The sums are whole numbers for samples of uint8, float64 for others. `num_values` is that of a channel in a sample.
    """

    digests: Tensor
    originals: Tensor
    sums: Tensor
    squares: Tensor
    num_values: int

    @classmethod
    def of(cls, samples: Tensor, originals: Tensor | None = None) -> Measures:
        """Measure samples `(N, C, ...)`; without `originals` they are their own."""
        exact = samples.dtype == torch.uint8
        flat = samples.flatten(2) if samples.dim() > 2 else samples[:, :, None]
        wide = flat.to(torch.int32 if exact else torch.float64)
        total = torch.int64 if exact else torch.float64
        sums, squares = wide.sum(2, dtype=total), wide.square().sum(2, dtype=total)
        if originals is None:
            originals = identities(samples)
        return cls(digests(samples), originals, sums, squares, flat.shape[2])

    @classmethod
    def together(cls, parts: list[Measures]) -> Measures:
        """Return the measures of all parts, one after the other."""
        found, originals, sums, squares = (torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS)
        return cls(found, originals, sums, squares, parts[0].num_values)

    def subset(self, indices: Tensor) -> Measures:
        """Return the measures of the samples at `indices`."""
        found, originals, sums, squares = (getattr(self, name)[indices] for name in _COLUMNS)
        return Measures(found, originals, sums, squares, self.num_values)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation of each channel, to six decimals: those of pixels in 0..1.

        A channel that never varies has a deviation of 0, which nothing can be divided by: 1 stands for it.
        """
        exact = not self.sums.is_floating_point()
        scale = MAX_PIXEL if exact else 1
        count = len(self.sums) * self.num_values
        means, stds = [], []
        for channel in range(self.sums.shape[1]):
            columns = [column[:, channel].tolist() for column in (self.sums, self.squares)]
            total, square = (sum(column) if exact else math.fsum(column) for column in columns)
            mean = total / count
            variance = max(square / count - mean**2, 0.0)
            means.append(_rounded(mean / scale))
            stds.append(_rounded(math.sqrt(variance) / scale) or 1.0)
        return tuple(means), tuple(stds)

    def __len__(self) -> int:
        return len(self.digests)

    def packed(self) -> bytes:
        """Return the measures as bytes that prove themselves: their sha256, and then words of eight bytes.

        The words are how many samples, channels and values of a channel there are, whether the sums are floats, then
        the digests, the originals', the sums and the squares.
        """
        head = torch.tensor([*self.sums.shape, self.num_values, self.sums.is_floating_point()])
        columns = (head, *(getattr(self, name) for name in _COLUMNS))
        words = b"".join(column.contiguous().view(torch.uint8).numpy().tobytes() for column in columns)
        return hashlib.sha256(words).digest() + words

    @classmethod
    def unpacked(cls, packed: bytes) -> Measures:
        """Return the measures that `packed` made; raise ValueError where they are not whole."""
        if hashlib.sha256(packed[SHA256_BYTES:]).digest() != packed[:SHA256_BYTES]:
            raise ValueError("damaged measures")
        words = torch.frombuffer(bytearray(packed[SHA256_BYTES:]), dtype=torch.int64)
        num_samples, num_channels, num_values, is_float = words[:4].tolist()
        size = num_samples * num_channels
        _, digests, originals, sums, squares = words.split([4, num_samples, num_samples, size, size])
        if is_float:
            sums, squares = sums.view(torch.float64), squares.view(torch.float64)
        return cls(digests, originals, sums.view(num_samples, -1), squares.view(num_samples, -1), num_values)


def _rounded(value: float) -> float:
    """Return a number to six digits: the last bits of a long sum are no two machines' own."""
    return float(f"{value:.6g}")


def in_both(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the indices of our digests that are among theirs, ascending."""
    return torch.isin(ours, theirs).nonzero()[:, 0]
