"""The preprocessing of samples of several tensors: each is normalized separately, or unchanged."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nnrun.core.ragged import Ragged
from nnrun.core.trees import named_leaves

# The largest value of a pixel.
PEAK = 255


@dataclass(frozen=True)
class NormalizeTree:
    """Normalize the tensors of a sample that have a `mean` and a `std`, by name, to `(raw - mean) / std` in float32.

    Both have a number for each index of the first dimension of a sample, or one; they are of values divided by `peak`,
    255 for pixels. Tensors that are not named, such as the numbers of categories, stay unchanged. One with `lengths`,
    the name of the tensor of its lengths, is a batch of sequences `(N, L, ...)`: its padding is 0 afterwards too.
    """

    leaves: Mapping[str, Mapping[str, Any]]

    def __call__(self, raw: Any) -> Any:
        """Return the network's inputs, a tree like the raw samples."""
        named = named_leaves(raw)
        names = iter(named)
        return tree_map(lambda leaf: self._scaled(next(names), leaf, named), raw)

    def _scaled(self, name: str, leaf: Tensor, named: Mapping[str, Tensor]) -> Tensor:
        """Return one of the tensors as the network receives it."""
        given = self.leaves.get(name)
        if given is None:
            return leaf
        peak = given["peak"]
        # Tensors made in a trace belong to it, so they must not be cached for later calls.
        tracing = torch.compiler.is_compiling() or type(leaf) is not Tensor
        make = _scale_and_shift if tracing else _kept_scale_and_shift
        is_sequence = "lengths" in given
        num_dims = leaf.dim() - is_sequence
        scale, shift = make(tuple(given["mean"]), tuple(given["std"]), peak, num_dims, leaf.device)
        scaled = leaf.to(torch.float32) * scale + shift
        if not is_sequence:
            return scaled
        is_there = torch.arange(leaf.shape[1], device=leaf.device) < named[given["lengths"]][:, None]
        return scaled * is_there.reshape(*is_there.shape, *[1] * (leaf.dim() - 2))

    def to_plain(self) -> dict[str, Any]:
        """Return the `_target_` and parameters from which the same preprocessing can be built."""
        leaves = {name: dict(given) for name, given in self.leaves.items()}
        return {"_target_": f"{__name__}.{type(self).__name__}", "leaves": leaves}


def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], peak: int, num_dims: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return a and b with `a * raw + b` = `(raw / peak - mean) / std`, for tensors of `num_dims` dimensions."""
    with torch.inference_mode(False):
        pairs = [[1 / (peak * of) for of in std], [-middle / of for middle, of in zip(mean, std, strict=True)]]
        scale, shift = torch.tensor(pairs, dtype=torch.float32, device=device).unbind()
        shape = (-1, *[1] * (num_dims - 2)) if num_dims > 1 else (-1,)
        return scale.reshape(shape), shift.reshape(shape)


# Once per device: a copy from the host in each step would wait, and cannot be captured in a CUDA graph.
_kept_scale_and_shift = functools.cache(_scale_and_shift)


def measured(tree: Any, lengths: Mapping[str, str] | None = None) -> NormalizeTree:
    """Return the preprocessing of samples by the mean and deviation of their pixels, uint8 `(N, C, H, W)`, and floats.

    `lengths` has the name of the tensor of the lengths of each sequence; padding is not measured. Constant values are
    only shifted.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, samples in named_leaves(tree).items():
        leaf = samples.flat() if isinstance(samples, Ragged) else samples
        is_pixels = leaf.dtype == torch.uint8 and leaf.dim() == 4
        if is_pixels or leaf.is_floating_point():
            columns = leaf.transpose(0, 1).flatten(1) if leaf.dim() > 1 else leaf[None]
            peak = PEAK if is_pixels else 1
            mean, std = columns.double().mean(1) / peak, columns.double().std(1, correction=0) / peak
            found[name] = {"mean": _rounded(mean), "std": _rounded(torch.where(std > 0, std, 1.0)), "peak": peak}
            if isinstance(samples, Ragged):
                found[name]["lengths"] = (lengths or {})[name]
    return NormalizeTree(found)


def _rounded(values: Tensor) -> list[float]:
    """Return numbers rounded to six digits: the last bits of a long sum depend on the machine."""
    return [float(f"{value:.6g}") for value in values.tolist()]
