"""Apply an operation to many tensors in a few launches: on a GPU each launch costs the host microseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def copy_all(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Copy each source into its target, all of one dtype at once."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        to, of = pairs.setdefault(target.dtype, ([], []))
        to.append(target)
        of.append(source)
    for to, of in pairs.values():
        torch._foreach_copy_(to, of)


class Snapshot:
    """A copy of tensors to restore them from, depending on a flag that the host need not read."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._before = {dtype: _joined(group) for dtype, group in _by_type(tensors).items()}

    @torch.no_grad()
    def put_back_unless(self, good: Tensor, tensors: Iterable[Tensor]) -> None:
        """Restore the tensors unless `good`, a bool on their device, is true; NaN in them does no harm."""
        for dtype, group in _by_type(tensors).items():
            right = torch.where(good, _joined(group), self._before[dtype])
            parts = right.split([tensor.numel() for tensor in group])
            torch._foreach_copy_(group, [part.view(tensor.shape) for part, tensor in zip(parts, group, strict=True)])


def _by_type(tensors: Iterable[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    """Return the tensors of each dtype, each as a view with its dimensions in memory order."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        # Otherwise each weight in channels_last would be copied before it is joined.
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        groups.setdefault(tensor.dtype, []).append(tensor.detach().permute(order))
    return groups


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return the values of tensors of one dtype in one copy, `(sum of their sizes,)`."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
