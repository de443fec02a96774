"""Zip files as torch writes them, and as it never would."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STORAGES = {
    torch.float32: torch.FloatStorage,
    torch.float64: torch.DoubleStorage,
    torch.int64: torch.LongStorage,
    torch.bool: torch.BoolStorage,
}
PICKLE = b"/data.pkl"
# A zip64 record and its locator, full of the largest numbers.
ZIP64 = b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\xff" * 16


class Call:
    """An object that pickles as the call of a function; `rest` is what else `__reduce__` may return."""

    def __init__(self, function: Any, *arguments: Any, rest: tuple[Any, ...] = ()) -> None:
        self._reduced = (function, arguments, *rest)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


class _Pickler(pickle.Pickler):
    """Write tensors as torch does; the first one says other things of itself, or of where its bytes are.

    `entries` takes their bytes. A claim, of any kind, is where the bytes are said to be.
    """

    def __init__(self, file: io.BytesIO, claim: Any, said: dict[str, Any]) -> None:
        super().__init__(file, 2)
        self.entries: dict[str, bytes] = {}
        self._claim, self._said = claim, said

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        number, kind = len(self.entries), STORAGES[value.dtype]
        self.entries[f"data/{number}"] = value.numpy().tobytes()
        where: Any = ("storage", kind, str(number), "cpu", value.numel())
        said = {"offset": 0, "size": tuple(value.shape), "stride": value.stride()}
        if number == 0:
            where, said = where if self._claim is None else self._claim, said | self._said
        return torch._utils._rebuild_tensor_v2, (_Storage(where), *said.values(), False, OrderedDict())

    def persistent_id(self, value: Any) -> Any:
        return value.claim if isinstance(value, _Storage) else None


@dataclass(frozen=True)
class _Storage:
    """What pickles as the persistent id by which a checkpoint says where the bytes of a tensor are."""

    claim: Any


def torch_entries(payload: dict[str, Any], claim: Any = None, **said: Any) -> dict[str, bytes]:
    """Return the entries of the zip file that torch would write, but for what its first tensor says."""
    file = io.BytesIO()
    pickler = _Pickler(file, claim, said)
    pickler.dump(payload)
    return {"data.pkl": file.getvalue(), "byteorder": b"little", **pickler.entries, "version": b"3\n"}


def pack(path: Path, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file; its names begin with `archive/`, as torch's do, unless they begin with `/`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name if name.startswith("/") else f"archive/{name}", content)


def patched(content: bytes, offset: int, value: bytes, name: bytes = b"") -> bytes:
    """Return a zip file, bytes in its directory replaced: in every entry whose name ends so.

    The offsets: 8 flags, 10 compression, 20 compressed size, 24 size, 42 where the entry lies.
    """
    changed, start = bytearray(content), content.find(b"PK\x01\x02")
    while start >= 0:
        length = struct.unpack_from("<H", content, start + 28)[0]
        if content[start + 46 : start + 46 + length].endswith(name):
            changed[start + offset : start + offset + len(value)] = value
        start = content.find(b"PK\x01\x02", start + 46)
    return bytes(changed)


def relocated(content: bytes, offset: int, value: bytes, name: bytes = b"") -> bytes:
    """Return a zip file, bytes replaced in the headers that stand before the entries whose name ends so.

    The offsets: 6 flags, 8 compression, 14 CRC, 18 compressed size, 22 size, 30 the name.
    """
    changed, start = bytearray(content), content.find(b"PK\x03\x04")
    while start >= 0:
        length = struct.unpack_from("<H", content, start + 26)[0]
        if content[start + 30 : start + 30 + length].endswith(name):
            changed[start + offset : start + offset + len(value)] = value
        start = content.find(b"PK\x03\x04", start + 30)
    return bytes(changed)


def two_ends(shown: bytes, hidden: bytes) -> bytes:
    """Return a zip file with two zip64 records: its locator names that of `hidden`, and another is nearer."""

    def record(content: bytes, start: int) -> tuple[bytes, int]:
        end = content.rindex(b"PK\x05\x06")
        count, size, begin = struct.unpack_from("<H2L", content, end + 10)
        return struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, begin + start), end

    first, hidden_end = record(hidden, 0)
    start = hidden_end + len(first)
    second, shown_end = record(shown, start)
    begin = shown.index(b"PK\x01\x02")
    directory = bytearray(shown[begin:shown_end])
    entry = 0
    while entry >= 0:
        (offset,) = struct.unpack_from("<I", directory, entry + 42)
        struct.pack_into("<I", directory, entry + 42, offset + start)
        entry = directory.find(b"PK\x01\x02", entry + 46)
    end = bytearray(shown[shown_end:])
    struct.pack_into("<I", end, 16, begin + start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, hidden_end, 1)
    return hidden[:hidden_end] + first + shown[:begin] + bytes(directory) + second + locator + bytes(end)


def two_archives(shown: bytes, hidden: bytes) -> bytes:
    """Return a zip file with two directories of as many bytes: one lies where the last record states, one before it.

    Who goes by the statement reads `hidden`; who looks in front of the record reads `shown`.
    """
    starts = [content.index(b"PK\x01\x02") for content in (shown, hidden)]
    ends = [content.rindex(b"PK\x05\x06") for content in (shown, hidden)]
    directory = bytearray(shown[starts[0] : ends[0]])
    assert len(directory) == ends[1] - starts[1], "entries of the same names"
    assert starts[0] <= starts[1], "offsets are not negative"
    entry = 0
    while entry >= 0:
        # Offsets count from where the directory would be, were the statement true of it.
        (offset,) = struct.unpack_from("<I", directory, entry + 42)
        struct.pack_into("<I", directory, entry + 42, offset + starts[1] - starts[0])
        entry = directory.find(b"PK\x01\x02", entry + 46)
    record = bytearray(hidden[ends[1] : ends[1] + 22])
    return hidden[: ends[1]] + shown[: starts[0]] + bytes(directory) + bytes(record)
