"""Descriptions of the tensors in a file, instead of the tensors that torch's own functions would build.

A description is accepted only if it is complete, made of plain numbers, and inside of the file's bytes for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnrun.checkpoints.safe_pickle import BadPickle, Function, Inert, Ordered
from nnrun.checkpoints.zip_entries import Region

MAX_DIMENSIONS = 64
DTYPE_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "complex64": 8, "complex128": 16, "uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1,
    "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
}  # fmt: skip
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": None,
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """The description of a tensor in a file, unread: dtype, shape, strides, offset in elements, storage."""

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Region

    @property
    def num_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.num_elements * DTYPE_BYTES[self.dtype]


class Storages:
    """Find the bytes that a persistent id refers to; all references to a storage must describe it in the same way."""

    def __init__(self, regions: Mapping[str, Region]) -> None:
        self._regions = regions
        self._told: dict[str, tuple[str | None, int]] = {}

    def find(self, pid: Any) -> tuple[str | None, Region]:
        """Return the dtype of a storage, None if the tensor states it, and its place in the file.

        Raises BadPickle where the id is not one of torch's, or does not match the bytes.
        """
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _Storage):
            raise BadPickle("it holds a persistent id that is not the storage of a tensor")
        _, storage, key, location, num_elements = pid
        if type(key) is not str or type(location) is not str or type(num_elements) is not int:
            raise BadPickle("it holds a storage that is not described as torch.save describes one")
        num_bytes = num_elements * (DTYPE_BYTES[storage.dtype] if storage.dtype else 1)
        region = self._regions.get(key)
        if num_bytes < 0 or region is None or num_bytes > region.size:
            raise BadPickle("a tensor claims more bytes than the file holds")
        if num_bytes != region.size or self._told.setdefault(key, (storage.dtype, num_bytes)) != (
            storage.dtype,
            num_bytes,
        ):
            raise BadPickle("a tensor claims a different number of bytes than the file holds for it")
        return storage.dtype, region


class _Storage:
    """Stand for a type of storage, by its dtype."""

    def __init__(self, dtype: str | None) -> None:
        self.dtype = dtype


class _Dtype(Inert):
    """Stand for a dtype."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__("torch.dtype")
        self.name = name


def _describe(storage: Any, offset: Any, size: Any, stride: Any, *dtypes: str) -> StoredTensor:
    """Describe a tensor; raise BadPickle unless its view is inside of its storage."""
    if type(storage) is not tuple or len(storage) != 2 or type(storage[1]) is not Region:
        raise BadPickle("a tensor without a storage")
    dtype, region = storage[0] or next(iter(dtypes), None), storage[1]
    lengths = (*size, *stride) if type(size) is tuple and type(stride) is tuple else (None,)
    if dtype is None or any(type(number) is not int for number in (offset, *lengths)) or len(size) != len(stride):
        raise BadPickle("a tensor that is not described as torch.save describes one")
    if len(size) > MAX_DIMENSIONS:
        raise BadPickle(f"a tensor of {len(size):,} dimensions")
    count, room = math.prod(size), region.size // DTYPE_BYTES[dtype]
    reach = sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1 if count else 0
    if (
        offset < 0
        or min(lengths, default=0) < 0
        or offset + reach > room
        or offset > 2**62
        or max(lengths, default=0) > 2**62
    ):
        raise BadPickle("a tensor reaches beyond its storage")
    if count > room:
        raise BadPickle(f"a tensor claims {count:,} elements in a storage of {room:,}")
    return StoredTensor(dtype, size, stride, offset, region)


def _rebuild_v2(given: tuple[Any, ...]) -> StoredTensor:
    """Replace torch's _rebuild_tensor_v2: storage, offset, size, stride, requires_grad, hooks, metadata."""
    _check_rest(given, 4)
    return _describe(*given[:4])


def _rebuild_v3(given: tuple[Any, ...]) -> StoredTensor:
    """Replace torch's _rebuild_tensor_v3, which also states the dtype."""
    if len(given) < 7 or type(given[6]) is not _Dtype or given[6].name not in DTYPE_BYTES:
        raise BadPickle("it holds a tensor of a dtype that nnrun does not read")
    _check_rest((*given[:6], *given[7:]), 4)
    return _describe(*given[:4], given[6].name)


def _rebuild_parameter(given: tuple[Any, ...]) -> StoredTensor:
    """Replace torch's _rebuild_parameter, and the one with a state: a parameter becomes its tensor."""
    _check_rest(given, 1)
    if type(given[0]) is not StoredTensor:
        raise BadPickle("a parameter that is not a tensor")
    return given[0]


def _rebuild_subclass(given: tuple[Any, ...]) -> StoredTensor:
    """Replace torch's _rebuild_from_type_v2: a tensor with attributes, or a parameter, becomes the plain tensor."""
    if (
        len(given) != 4
        or given[0] not in _REBUILD.values()
        or type(given[1]) is not Inert
        or type(given[2]) is not tuple
    ):
        raise BadPickle("it holds a tensor of a custom class")
    return given[0].call(given[2])  # type: ignore[no-any-return]


def _check_rest(given: tuple[Any, ...], start: int) -> None:
    """Raise BadPickle where a tensor has hooks, or is a conjugate or negative view of its storage."""
    requires_grad, hooks, *more = given[start:] if len(given) >= start + 2 else (None, None)
    if type(requires_grad) is not bool or hooks not in (None, {}) or len(more) > 1:
        raise BadPickle("a tensor that is not described as torch.save describes one")
    if more and isinstance(more[0], dict) and any(more[0].get(flag) is True for flag in ("conj", "neg")):
        raise BadPickle("it holds a tensor that is stored as a conjugate or negative view")


def _ordered(given: tuple[Any, ...]) -> Ordered:
    """Create an empty OrderedDict, as torch.save writes it: an argument would be copied at each reference."""
    if given:
        raise BadPickle("it holds an OrderedDict that torch.save would write differently")
    return Ordered()


def _inert(kind: str) -> Function:
    """Return a Function that makes a harmless value without a use."""
    return Function(kind, lambda _: Inert(kind))


def _refused(kind: str) -> Function:
    """Return a Function for a tensor that nnrun does not read: it raises BadPickle."""

    def refuse(_: tuple[Any, ...]) -> None:
        raise BadPickle(f"it holds {kind}, which nnrun does not read")

    return Function(kind, refuse)


_REBUILD = {
    "_rebuild_tensor_v2": Function("_rebuild_tensor_v2", _rebuild_v2),
    "_rebuild_tensor_v3": Function("_rebuild_tensor_v3", _rebuild_v3),
    "_rebuild_parameter": Function("_rebuild_parameter", _rebuild_parameter),
    "_rebuild_parameter_with_state": Function("_rebuild_parameter_with_state", _rebuild_parameter),
}
_NOT_READ = {
    "_rebuild_qtensor": "a quantized tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without numbers (on the meta device)",
    "_rebuild_wrapper_subclass": "a tensor of a custom class",
}
# The names that torch.load(weights_only=True) accepts, as protocol 2 writes them.
NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Function("OrderedDict", _ordered),
    **{("torch._utils", name): function for name, function in _REBUILD.items()},
    **{("torch._utils", name): _refused(kind) for name, kind in _NOT_READ.items()},
    ("torch._tensor", "_rebuild_from_type_v2"): Function("_rebuild_from_type_v2", _rebuild_subclass),
    ("torch", "Tensor"): Inert("torch.Tensor"),
    ("torch.nn.parameter", "Parameter"): Inert("torch.nn.Parameter"),
    **{("torch", name): _Storage(dtype) for name, dtype in _STORAGES.items()},
    **{("torch.storage", name): _Storage(dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): _Dtype(name) for name in DTYPE_BYTES},
    ("collections", "Counter"): _inert("Counter"),
    ("torch", "Size"): _inert("torch.Size"),
    ("torch", "device"): _inert("torch.device"),
    ("torch.serialization", "_get_layout"): _inert("torch.layout"),
    ("_codecs", "encode"): _inert("bytes"),
    **{
        (module, name): _inert(name)
        for module in ("__builtin__", "builtins")
        for name in ("set", "bytearray", "complex")
    },
}
