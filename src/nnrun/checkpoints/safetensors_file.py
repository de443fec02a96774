"""Describe the weights in a safetensors file without reading them; the checked header is the one that is then used.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from nnrun.base.errors import CONTROL, ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.payload import UNWRITABLE
from nnrun.checkpoints.stored_tensors import DTYPE_BYTES, MAX_DIMENSIONS, StoredTensor
from nnrun.checkpoints.zip_entries import Region

MAX_HEADER_BYTES = 16 * 2**20
_MAX_NAME, _MAX_SIZE = 10_000, 2**62
# More than any network has; each costs time wherever names are compared.
MAX_TENSORS = 100_000
# Lists and mappings take more memory than bytes in the file; a tensor has three, and texts of metadata may have some.
_MAX_BRACKETS = 2**20
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


class _Odd(Exception):
    """A file violates the format; the message says how."""


def describe(file: OpenFile) -> dict[str, StoredTensor]:
    """Return the tensors in a file, by name; raise ArtifactError unless the header accounts for each byte once."""
    try:
        num_bytes = file.num_bytes
        file.stream.seek(0)
        first = file.stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else num_bytes
        if length > min(MAX_HEADER_BYTES, num_bytes - 8):
            raise _Odd("its header is longer than the file or the maximum")
        header = _parsed(file.stream.read(length))
        return _tensors(header, 8 + length, num_bytes)
    except (OSError, _Odd) as error:
        said = CONTROL.sub("?", str(error))[:300]
        raise ArtifactError(f"{file.path} cannot be read as safetensors: {said}") from error


def _parsed(content: bytes) -> dict[str, Any]:
    """Return the header; raise _Odd where it is invalid or has a name twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _Odd("its header has a name twice")
        return found

    if content.count(b"[") + content.count(b"{") > _MAX_BRACKETS:
        raise _Odd("its header holds more than a list of tensors")
    try:
        header = json.loads(content.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _Odd("its header cannot be read") from error
    if not isinstance(header, dict) or content[:1] != b"{":
        raise _Odd("its header is not a list of tensors")
    return header


def _tensors(header: dict[str, Any], start: int, num_bytes: int) -> dict[str, StoredTensor]:
    """Return the tensors of a header; raise _Odd unless they fill the rest of the file, one after the other."""
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _Odd(f"it has {len(header):,} tensors, more than the maximum of {MAX_TENSORS:,}")
    found = {name: _tensor(name, told, start) for name, told in header.items()}
    end = start
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.storage.start, tensor.storage.size)):
        if tensor.storage.start != end:
            raise _Odd("its tensors overlap or have gaps")
        end += tensor.storage.size
    if end != num_bytes:
        raise _Odd(f"its tensors end at byte {end:,}, but the file at {num_bytes:,}")
    return found


def _tensor(name: str, told: Any, start: int) -> StoredTensor:
    """Return one tensor; raise _Odd where its number of bytes does not match its shape and dtype."""
    if not isinstance(told, dict) or told.keys() != {"dtype", "shape", "data_offsets"} or len(name) > _MAX_NAME:
        raise _Odd("its header has an entry that is not a tensor")
    if UNWRITABLE.search(name):
        raise _Odd("the name of a tensor has control or invalid characters")
    dtype = _DTYPES.get(told["dtype"]) if isinstance(told["dtype"], str) else None
    if dtype is None:
        raise _Odd(f"{name[:100]} has the dtype {str(told['dtype'])[:20]!r}, which nnrun does not read")
    shape, offsets = told["shape"], told["data_offsets"]
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
    if not all(type(number) is int and 0 <= number < _MAX_SIZE for number in numbers) or len(offsets) != 2:
        raise _Odd(f"{name[:100]} has an invalid shape or invalid offsets")
    if len(shape) > MAX_DIMENSIONS or offsets[1] - offsets[0] != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise _Odd(f"{name[:100]} has a number of bytes that does not match its shape and dtype")
    # For a tensor without elements this limits the other lengths: torch needs a product that fits into 64 bits.
    if math.prod(max(length, 1) for length in shape) >= _MAX_SIZE:
        raise _Odd(f"{name[:100]} has a shape that torch does not support")
    # Of a tensor without elements too, as torch has them.
    stride = tuple(math.prod(max(length, 1) for length in shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(dtype, tuple(shape), stride, 0, Region(start + offsets[0], offsets[1] - offsets[0]))
