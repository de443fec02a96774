"""The preprocessing of images: uint8 pixels, or floats, to normalized floats."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalize:
    """Subtract the mean and divide by the standard deviation of each channel, both of pixels scaled to 0..1."""

    mean: Sequence[float]
    std: Sequence[float]

    # The raw value that is scaled to 1.
    peak: ClassVar[int] = 255

    def __post_init__(self) -> None:
        # Checkpoints contain lists; a cache key must be a tuple.
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))

    def __call__(self, raw: Tensor) -> Tensor:
        """Return `(raw / 255 - mean) / std` in float32, for uint8 `(N, C, H, W)`, in the same memory format."""
        scale, shift = self._scale_and_shift(raw)
        # One multiply-add, in place on the copy: half the memory traffic of the plain formula.
        return raw.to(torch.float32, copy=True).mul_(scale).add_(shift)

    def _scale_and_shift(self, raw: Tensor) -> tuple[float, float] | tuple[Tensor, Tensor]:
        """Return the factor and the offset of each channel, on the device of `raw`."""
        if len(self.mean) == 1:
            return _scale_and_shift(self.mean[0], self.std[0], self.peak)
        # Tensors made in a trace belong to it (they may be fake), so they must not be cached for later calls.
        tracing = torch.compiler.is_compiling() or type(raw) is not Tensor
        make = _channel_tensors if tracing else _kept_channel_tensors
        return make(tuple(self.mean), tuple(self.std), self.peak, raw.device)

    def to_plain(self) -> dict[str, Any]:
        """Return the `_target_` and parameters from which the same preprocessing can be built."""
        return {"_target_": f"{__name__}.{type(self).__name__}", "mean": list(self.mean), "std": list(self.std)}


class Standardize(Normalize):
    """The same for samples that are stored as floats, `(raw - mean) / std`: their scale is unknown."""

    peak = 1


def _scale_and_shift(mean: float, std: float, peak: int) -> tuple[float, float]:
    """Return a and b with `a * raw + b` = `(raw / peak - mean) / std`."""
    return 1 / (peak * std), -mean / std


def _channel_tensors(
    mean: tuple[float, ...], std: tuple[float, ...], peak: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the factors and the offsets of all channels, each `(C, 1, 1)`."""
    # Cached tensors must work in a backward pass to the pixels too, even if an evaluation in inference mode came first.
    with torch.inference_mode(False):
        pairs = torch.tensor([_scale_and_shift(*pair, peak) for pair in zip(mean, std, strict=True)], device=device)
        scale, shift = pairs.to(torch.float32).t().reshape(2, -1, 1, 1).unbind()
        return scale, shift


# Once per device: a copy from the host in each step would wait, and cannot be captured in a CUDA graph.
_kept_channel_tensors = functools.cache(_channel_tensors)
