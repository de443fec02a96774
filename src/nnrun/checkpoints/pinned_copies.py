"""Copy a GPU's tensors into pinned memory that is kept: in a few large copies, and without waiting for them."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

# Tensors are gathered on the device up to this size, since each copy to the host costs a launch.
_CHUNK_BYTES = 32 * 2**20


def can_be_gathered(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor are one block of memory, in any order."""
    formats = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)
    is_plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
    return is_plain and any(tensor.is_contiguous(memory_format=each) for each in formats)


class PinnedCopies:
    """Copies of tensors on the host. Their memory is kept, since pinning it takes longer than the copying."""

    def __init__(self) -> None:
        self._layout: list[object] = []
        self._copies: list[Tensor] = []
        # Which tensors are gathered, and the part of the pinned memory that they are copied to.
        self._chunks: list[tuple[list[int], Tensor]] = []

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor, with a storage of its own; complete once the device's stream has come so far.

        All must satisfy `can_be_gathered`. If they are laid out as the last ones were, the last copies are overwritten.
        """
        layout: list[object] = [(each.device, each.dtype, each.shape, each.stride()) for each in tensors]
        if layout != self._layout:
            self._allocate(tensors)
            self._layout = layout
        for members, place in self._chunks:
            flat = [_flat(tensors[index]) for index in members]
            # The gathered tensor may be freed at once: its memory is used again only by later work of this stream.
            place.copy_(torch.cat(flat) if len(flat) > 1 else flat[0], non_blocking=True)
        return self._copies

    def _allocate(self, tensors: Sequence[Tensor]) -> None:
        """Pin memory for tensors, one block for each device and type, and divide it."""
        self._layout, self._chunks = [], []
        self._copies = [torch.empty_like(tensor, device="cpu") if tensor.numel() == 0 else _NONE for tensor in tensors]
        kinds: defaultdict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
        for index, tensor in enumerate(tensors):
            if tensor.numel():
                kinds[tensor.device, tensor.dtype].append(index)
        for (_, dtype), members in kinds.items():
            num_values = sum(tensors[index].numel() for index in members)
            whole = torch.empty(num_values, dtype=dtype, pin_memory=tensors[members[0]].is_cuda)
            gathered: list[int] = []
            begin = end = 0
            for index in members:
                tensor = tensors[index]
                self._copies[index] = _part(whole, end, tensor)
                gathered.append(index)
                end += tensor.numel()
                if (end - begin) * whole.itemsize >= _CHUNK_BYTES or end == num_values:
                    self._chunks.append((gathered, whole[begin:end]))
                    gathered, begin = [], end


_NONE = torch.empty(0)


def _flat(tensor: Tensor) -> Tensor:
    """Return a tensor's numbers in the order of memory, as a view."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def _part(whole: Tensor, begin: int, like: Tensor) -> Tensor:
    """Return a tensor in the memory of `whole`, laid out as `like`, with a storage that ends where it ends.

    A view of `whole` would share its storage: a file of it would hold all of that.
    """
    place = whole.data_ptr() + begin * whole.itemsize
    memory = (ctypes.c_byte * (like.numel() * whole.itemsize)).from_address(place)
    vars(memory)["owner"] = whole  # the memory lives as long as a tensor that uses it
    return torch.frombuffer(memory, dtype=whole.dtype).as_strided(like.shape, like.stride())
