"""A training's state as it is at one moment, copied, so that it can be written while the training goes on."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """Copies of a tree of values on the host. Their memory is used again: a copy is good until the next is taken.

    New memory costs more than the copying, since the system clears each page of it when it is first touched.
    """

    def __init__(self) -> None:
        self._buffers: list[torch.UntypedStorage] = []
        self._copied: list[torch.cuda.Event] = []

    def take(self, tree: Any) -> Any:
        """Return a copy of a tree, which is whole after `wait`; what changes its tensors from now on does not matter.

        A GPU's tensors are copied in the order of its work, into pinned memory, and nobody waits for that here.
        Tensors that are one, such as tied weights, stay one, and those that share their memory go on to.
        """
        copies: dict[Any, Tensor] = {}
        storages: dict[int, torch.UntypedStorage] = {}
        buffers, self._buffers = self._buffers, []
        gpus: set[torch.device] = set()

        def copied(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            place = (storage._cdata, tensor.storage_offset(), tensor.dtype, tensor.shape, tensor.stride())
            # On the host by its identity: a pickle tells which tensors are one object.
            key = id(tensor) if tensor.device.type == "cpu" else place
            if key in copies:
                return copies[key]
            if tensor.device.type == "cpu":
                if storage._cdata not in storages:
                    storages[storage._cdata] = self._copy_of(storage, buffers)
                whole = torch.empty(0, dtype=tensor.dtype)
                copies[key] = whole.set_(storages[storage._cdata], place[1], tensor.size(), tensor.stride())
            else:
                copies[key] = tensor.detach().to("cpu", non_blocking=tensor.is_cuda)
                gpus.update([tensor.device] if tensor.is_cuda else [])
            return copies[key]

        copy = canonical(tree, copied)
        self._copied = [_mark(gpu) for gpu in gpus]
        return copy

    def _copy_of(self, storage: torch.UntypedStorage, earlier: list[torch.UntypedStorage]) -> torch.UntypedStorage:
        """Return a copy of a storage, in the memory that the one in its place had the last time if that fits."""
        place, num_bytes = len(self._buffers), storage.nbytes()
        fits = place < len(earlier) and earlier[place].nbytes() == num_bytes
        buffer = earlier[place] if fits else torch.UntypedStorage(num_bytes)
        # By one thread: torch's own copies by several, which wait for each other where others compute too.
        ctypes.memmove(buffer.data_ptr(), storage.data_ptr(), num_bytes)
        self._buffers.append(buffer)
        return buffer

    def wait(self) -> None:
        """Wait until the newest copy is whole: for the GPUs that have yet to make it."""
        for event in self._copied:
            event.synchronize()


def _mark(gpu: torch.device) -> torch.cuda.Event:
    """Return what can be waited for, without keeping a core busy, until a GPU has done what it was given so far."""
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(gpu))
    return event


def canonical(value: Any, copied: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Any:
    """Return equal values as equal bytes when pickled, in new dictionaries and lists, and of each tensor `copied`.

    A pickle also tells which texts and lists are one object: a resumed run would differ in that from one that was
    never stopped, and its checkpoints in their names.
    """
    if isinstance(value, dict):
        return {canonical(key): canonical(item, copied) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(canonical(item, copied) for item in value)
    if isinstance(value, Tensor):
        return copied(value)
    return sys.intern(value) if isinstance(value, str) else value
