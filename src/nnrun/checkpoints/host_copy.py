"""Copy a training's state to the host, so that it can be written while the training continues."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nnrun.checkpoints.pinned_copies import PinnedCopies, can_be_gathered


class HostCopy:
    """Copies of a tree of values on the host. Their memory is reused: a copy is valid until the next is taken.

    New memory would cost more than the copying, since the system clears each page when it is first touched.
    """

    def __init__(self) -> None:
        self._buffers: list[torch.UntypedStorage] = []
        self._pinned = PinnedCopies()
        self._copied: list[torch.cuda.Event] = []

    def take(self, tree: Any) -> Any:
        """Return a copy of a tree, complete after `wait`; later changes of the tensors do not affect it.

        A GPU's tensors are copied on its stream into pinned memory, without waiting here.
        Identical tensors, such as tied weights, stay identical, and tensors that share memory still do.
        """
        storages: dict[int, torch.UntypedStorage] = {}
        buffers, self._buffers = self._buffers, []
        tensors: dict[Any, Tensor] = {}
        canonical(tree, lambda tensor: tensors.setdefault(_key(tensor), tensor))
        on_gpus = {key: one for key, one in tensors.items() if one.is_cuda and can_be_gathered(one)}
        copies = dict(zip(on_gpus, self._pinned.take(list(on_gpus.values())), strict=True))

        def copied(tensor: Tensor) -> Tensor:
            key = _key(tensor)
            if key in copies:
                return copies[key]
            if tensor.device.type == "cpu" and is_expanded(tensor):
                # The reader takes no tensor that needs more memory than its file has.
                copies[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
            elif tensor.device.type == "cpu":
                storage = tensor.untyped_storage()
                if storage._cdata not in storages:
                    storages[storage._cdata] = self._copy_of(storage, buffers)
                whole = torch.empty(0, dtype=tensor.dtype)
                place = storages[storage._cdata]
                copies[key] = whole.set_(place, tensor.storage_offset(), tensor.size(), tensor.stride())
            else:
                copies[key] = tensor.detach().to("cpu", non_blocking=tensor.is_cuda)
            return copies[key]

        copy = canonical(tree, copied)
        self._copied = [_mark(gpu) for gpu in {one.device for one in tensors.values() if one.is_cuda}]
        return copy

    def _copy_of(self, storage: torch.UntypedStorage, earlier: list[torch.UntypedStorage]) -> torch.UntypedStorage:
        """Return a copy of a storage, in the memory of the last copy at this position if the size is the same."""
        place, num_bytes = len(self._buffers), storage.nbytes()
        fits = place < len(earlier) and earlier[place].nbytes() == num_bytes
        buffer = earlier[place] if fits else torch.UntypedStorage(num_bytes)
        # With one thread: torch's copy uses several, which wait for each other on a busy machine.
        ctypes.memmove(buffer.data_ptr(), storage.data_ptr(), num_bytes)
        self._buffers.append(buffer)
        return buffer

    def wait(self) -> None:
        """Wait until the GPUs have completed the newest copy."""
        for event in self._copied:
            event.synchronize()


def _key(tensor: Tensor) -> Any:
    """Return what identifies a tensor; on the host, itself: a pickle records which tensors are the same object."""
    if tensor.device.type == "cpu":
        return id(tensor)
    storage = tensor.untyped_storage()
    return storage._cdata, tensor.storage_offset(), tensor.dtype, tensor.shape, tensor.stride()


def is_expanded(tensor: Tensor) -> bool:
    """Return whether elements of a tensor share memory, as those of `ones(1).expand(3)` do."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _mark(gpu: torch.device) -> torch.cuda.Event:
    """Return an event for a GPU's work so far; waiting for it does not keep a core busy."""
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(gpu))
    return event


def canonical(value: Any, copied: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Any:
    """Return a tree in new dictionaries and lists, with `copied` of each tensor, so that equal trees pickle equally.

    A pickle also records which strings and lists are the same object. A resumed run would differ in that from an
    uninterrupted one, and so would the names of its checkpoints.
    """
    if isinstance(value, dict):
        return {canonical(key): canonical(item, copied) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(canonical(item, copied) for item in value)
    if isinstance(value, Tensor):
        return copied(value)
    return sys.intern(value) if isinstance(value, str) else value
