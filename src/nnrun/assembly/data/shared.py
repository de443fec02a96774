"""Opened data that the jobs of a sweep share: one opens it, and the others map its tensors from a file in memory.

Each job has its own objects, and tensors whose pages it shares with the others until it changes them (copy on write).
Samples that stay in a file on disk stay there.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any, BinaryIO

import torch
from torch import Tensor

from nnrun.assembly.data.batch_size import check_batch
from nnrun.assembly.data.opened import Opened, open_data
from nnrun.base.host import available_bytes
from nnrun.base.shelf import Shelf, file_in_memory, shelf
from nnrun.config.auto import AUTO
from nnrun.config.schema import DataSettings

# Tensors begin at multiples of this, as torch's own do.
_ALIGNMENT = 64
# At the end of the file: the length of the pickle before it.
_LENGTH_BYTES = 8
# Settings of `data` that change nothing in what is opened.
_OF_BATCHES = ("batch_size", "eval_batch_size", "num_workers")


def open_to_train(settings: DataSettings, *, checks_batch: bool, learned: Mapping[str, Any] | None) -> Opened:
    """Open the data of a training as `open_data` does; of the jobs of a sweep with the same data, only one does."""
    through = shelf()
    if through is None:
        return open_data(settings, checks_batch=checks_batch, learned=learned)
    key = _key(settings, learned)
    data = opened_once(through, key, lambda: open_data(settings, checks_batch=checks_batch, learned=learned))
    if checks_batch and settings.batch_size != AUTO:
        check_batch(settings.batch, len(data.train))
    return data


def _key(settings: DataSettings, learned: Mapping[str, Any] | None) -> str:
    """Return a hash of all that decides what is opened."""
    tree = {name: value for name, value in asdict(settings).items() if name not in _OF_BATCHES}
    shown = json.dumps([tree, learned], sort_keys=True, default=str)
    return hashlib.sha256(shown.encode(errors="backslashreplace")).hexdigest()


def opened_once(shelf: Shelf, key: str, open_it: Callable[[], Opened]) -> Opened:
    """Return data that a job of the sweep has opened, or open and give it. An error is this job's own."""
    descriptor = shelf.take(key)
    if descriptor is None:
        data = open_it()
        descriptor = _packed(data)
        shelf.give(key, None if descriptor is None else os.dup(descriptor))
        if descriptor is None:
            return data
    try:
        return _unpacked(descriptor)
    finally:
        os.close(descriptor)


def _packed(data: Opened) -> int | None:
    """Return data as a file in memory; None where there is no room for it, or an object in it cannot be pickled."""
    if data.num_bytes > available_bytes():
        return None
    with suppress(Exception):
        # The hash of all samples is computed once, too.
        data = replace(data, source_fingerprint=data.fingerprint)
        plain = {it.name: getattr(data, it.name) for it in fields(Opened) if it.init}
        descriptor = file_in_memory("nnrun-data")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                pickled = io.BytesIO()
                _Packer(pickled, file).dump(plain)
                file.write(pickled.getbuffer())
                file.write(len(pickled.getbuffer()).to_bytes(_LENGTH_BYTES, "little"))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    return None


def _unpacked(descriptor: int) -> Opened:
    """Return the data in a file that `_packed` made."""
    content = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    end = len(content) - _LENGTH_BYTES
    length = int.from_bytes(content[end:], "little")
    return Opened(**_Unpacker(content, io.BytesIO(content[end - length : end])).load())


class _Packer(pickle.Pickler):
    """Pickle objects, and write the values of plain tensors to a file instead; the pickle has their places."""

    def __init__(self, pickled: io.BytesIO, file: BinaryIO) -> None:
        super().__init__(pickled, protocol=pickle.HIGHEST_PROTOCOL)
        self._file = file
        # The place of each tensor by its identity, and the tensor, so that no other one gets that.
        self._places: dict[int, tuple[Tensor, int]] = {}

    def persistent_id(self, obj: object) -> tuple[int, torch.dtype, tuple[int, ...]] | None:
        """Return where a tensor is, its dtype and its shape; None for what is pickled."""
        if type(obj) is not Tensor or not _is_plain(obj):
            return None
        if id(obj) not in self._places:
            self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
            self._places[id(obj)] = (obj, self._file.tell())
            values: Any = obj.detach().reshape(-1).view(torch.uint8).numpy()
            self._file.write(values)
        return self._places[id(obj)][1], obj.dtype, tuple(obj.shape)


def _is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is nothing but its values in order: others are pickled as torch does."""
    is_of_values = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    return is_of_values and tensor.is_contiguous() and tensor.numel() > 0 and not tensor.requires_grad


class _Unpacker(pickle.Unpickler):
    """Read what a `_Packer` wrote: tensors are parts of the mapped file."""

    def __init__(self, content: mmap.mmap, pickled: io.BytesIO) -> None:
        super().__init__(pickled)
        self._content = content
        self._tensors: dict[int, Tensor] = {}

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the tensor at a place; the same object each time."""
        place, dtype, shape = pid
        if place not in self._tensors:
            count = torch.Size(shape).numel()
            flat = torch.frombuffer(self._content, dtype=dtype, count=count, offset=place)
            self._tensors[place] = flat.view(shape)
        return self._tensors[place]
