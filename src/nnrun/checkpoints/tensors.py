"""Make tensors from a file's descriptions: only this module reads the bytes that were described."""

from __future__ import annotations

from typing import Any, BinaryIO

import torch
from torch import Tensor, UntypedStorage

from nnrun.base.errors import ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.stored_tensors import StoredTensor
from nnrun.checkpoints.zip_entries import OddZip, Region

# A training's state has a few levels.
MAX_DEPTH = 64


def read_tensors(file: OpenFile, described: Any) -> Any:
    """Return a tree of plain values in which each StoredTensor is replaced by the tensor, on the host.

    Tensors that share a storage in the file share one here. Raises ArtifactError where the bytes are damaged or cannot
    be read, or where the tree is nested too deep.
    """
    try:
        return _Reader(file.stream).made(described, 0)
    except (OddZip, OSError, RecursionError) as error:
        raise ArtifactError(f"{file.path} cannot be read as a checkpoint: {error}") from error


def dtype_name(tensor: Tensor | StoredTensor) -> str:
    """Return the dtype of a tensor as files and messages name it: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


class _Reader:
    """Read storages, each once, and make tensors from them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._storages: dict[Region, UntypedStorage] = {}
        # A list may be referred to many times: it is made once.
        self._made: dict[int, Any] = {}

    def made(self, value: Any, depth: int) -> Any:
        """Return a value with its tensors read; dictionaries become plain ones."""
        if isinstance(value, StoredTensor):
            return self._tensor(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if depth > MAX_DEPTH:
            raise OddZip("it is nested too deep")
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, tuple):
            made: Any = tuple([self.made(item, depth + 1) for item in value])
            self._made[id(value)] = made
        elif isinstance(value, list):
            made = self._made[id(value)] = []
            made.extend([self.made(item, depth + 1) for item in value])
        else:
            made = self._made[id(value)] = {}
            made.update({key: self.made(item, depth + 1) for key, item in value.items()})
        return made

    def _tensor(self, stored: StoredTensor) -> Tensor:
        """Return a tensor in its own storage, or in the one that it shares."""
        if stored.storage not in self._storages:
            self._storages[stored.storage] = self._storage(stored.storage)
        tensor = torch.empty(0, dtype=getattr(torch, stored.dtype))
        return tensor.set_(self._storages[stored.storage], stored.offset, stored.shape, stored.stride)

    def _storage(self, region: Region) -> UntypedStorage:
        """Return the bytes of a region, with torch's alignment."""
        room = torch.empty(region.size, dtype=torch.uint8)
        region.read_into(self._file, memoryview(room.numpy().data))
        return room.untyped_storage()
