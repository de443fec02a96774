"""Send values through a pipe from one process to another, with the bytes of tensors as they are."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import select
import struct
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from nnrun.base.signals import in_force

# The capacity to ask the kernel for: a larger pipe needs fewer switches between two processes.
_PIPE_BYTES = 2**20
# How often a wait checks for a signal that it is holding up.
_LOOK_MILLISECONDS = 200
# The size of the pickled value, and how many tensors follow it; then the size of each.
_HEADER = struct.Struct("<QQ")


def widen(pipe: Connection) -> None:
    """Raise the capacity of a pipe, where the kernel can."""
    import fcntl  # noqa: PLC0415 - the name looked for is Linux's

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def readable(pipes: Sequence[int]) -> list[int]:
    """Wait until some pipes have something to read, or are closed; return them.

    A signal that a training defers does not wait forever: raises InterruptedRun.
    """
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    while not (found := poll.poll(_LOOK_MILLISECONDS)):
        in_force().poll_in_vain()
    return [pipe for pipe, _ in found]


class _Pickler(pickle.Pickler):
    """Pickle a value whose tensors follow the pickle as raw bytes, without a copy."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor:
            return NotImplemented
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8)
        return _tensor, (pickle.PickleBuffer(flat.numpy().data), value.dtype, value.shape)


def _tensor(content: Tensor, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    """Return a tensor made of its bytes."""
    return content.view(dtype).view(shape)


def send(pipe: int, value: Any) -> None:
    """Write a value: its pickle, then the bytes of its tensors."""
    stream, tensors = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(stream, protocol=5, buffer_callback=tensors.append).dump(value)
    parts = [tensor.raw() for tensor in tensors]
    sizes = struct.pack(f"<{len(parts)}Q", *(part.nbytes for part in parts))
    head: list[Any] = [_HEADER.pack(stream.tell(), len(parts)), sizes, stream.getbuffer()]
    for part in (*head, *parts):
        view = memoryview(part)
        while view:
            view = view[os.write(pipe, view) :]


def receive(pipe: int, pin_memory: bool) -> Any:
    """Read a value; raise EOFError if there is none, or only a part of one."""
    num_bytes, number = _HEADER.unpack(_read(pipe, _HEADER.size))
    sizes = struct.unpack(f"<{number}Q", _read(pipe, 8 * number))
    content = _read(pipe, num_bytes)
    tensors: list[Any] = []
    for size in sizes:
        tensor = torch.empty(size, dtype=torch.uint8, pin_memory=pin_memory)
        _fill(pipe, tensor.numpy().data)
        tensors.append(tensor)
    return pickle.loads(content, buffers=tensors)


def _read(pipe: int, num_bytes: int) -> bytearray:
    """Read `num_bytes` bytes."""
    content = bytearray(num_bytes)
    _fill(pipe, memoryview(content))
    return content


def _fill(pipe: int, view: memoryview) -> None:
    """Read until the view is full."""
    while view:
        readable([pipe])
        count = os.readv(pipe, [view])
        if count == 0:
            raise EOFError
        view = view[count:]
