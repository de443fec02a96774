"""Read the plain values inside a checkpoint without torch.

A checkpoint is a stranger's. Its pickle is read by an unpickler that can build nothing but plain values, and tensors
only as descriptions of themselves.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.contents import StoredTensor, check_contents, weights_in
from nnrun.errors import CONTROL, ArtifactError

# Without the tensors, which are entries of their own in the file, a checkpoint's values fill some kilobytes.
MAX_PICKLE_BYTES = 16 * 2**20
MAX_DIMENSIONS = 64
# Characters of an error that is not ours, in a message.
MAX_SHOWN = 300
SAFETENSORS_SUFFIX = ".safetensors"
# The record at a zip file's end, and what stands before it in the 64-bit form.
_END_BYTES, _END64_BYTES = 22, 56 + 20
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_CODE_MARKS = {"constants.pkl": "TorchScript", "models/": "a .pt2 program", "MAR-INF/": "a TorchServe archive"}


def peek(path: Path) -> dict[str, Any]:
    """Return the plain values of a verified checkpoint, tensors as StoredTensor; nothing of it is run.

    Raises ArtifactError where the file is no checkpoint of nnrun's, where a tensor claims more than the file holds, or
    where a value is nested too deep, too large, or holds `${`, which a resolver would act on.
    """
    payload = read_pickle(path)
    check_contents(payload, path)
    return payload  # type: ignore[no-any-return]


def holds_weights_alone(path: Path) -> bool:
    """Return whether a file is a state dict from elsewhere, and no checkpoint of nnrun's."""
    if path.suffix == SAFETENSORS_SUFFIX:
        return True
    payload = read_pickle(path)
    return not (isinstance(payload, dict) and "schema" in payload) and weights_in(payload) is not None


def read_pickle(path: Path) -> Any:
    """Return what the pickle inside a torch zip file describes; raise ArtifactError where it is anything else."""
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise ArtifactError(
                    f"{path} is a bare pickle, as torch before 1.6 wrote it: reading it could run a stranger's code; "
                    "if you trust it, load it with torch and save it again with torch.save"
                )
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for mark, kind in _CODE_MARKS.items():
                if any(mark in name for name in names):
                    raise ArtifactError(f"{path} is {kind}: that is code, and nnrun does not run a stranger's code")
            pickles = [name for name in names if name.endswith("data.pkl")]
            if len(pickles) != 1 or archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
                raise ArtifactError(f"{path} is not a checkpoint of nnrun")
            _check_entries(archive, path)
            name = pickles[0]
            root = name.removesuffix("data.pkl")
            sizes = {info.filename.removeprefix(root + "data/"): info.file_size for info in archive.infolist()}
            content = archive.read(name)
            # Raises for what claims more bytes than there are, before room is made for it.
            for opcode, argument, _ in pickletools.genops(content):
                if opcode.name in _MEMO and int(argument or 0) > len(content):
                    raise pickle.UnpicklingError("it remembers more than it holds")
                if isinstance(argument, int) and abs(argument) > 2**64:
                    raise pickle.UnpicklingError("it holds a number of more than 64 bits")
            return _PlainUnpickler(io.BytesIO(content), sizes).load()
    except ArtifactError:
        raise
    except (zipfile.BadZipFile, OSError) as error:
        raise ArtifactError(f"{path} is not a checkpoint of nnrun, or it is damaged: {error}") from error
    except Exception as error:
        # An unpickler fed with a stranger's bytes can raise anything.
        raise ArtifactError(f"{path} is refused: {CONTROL.sub('?', str(error))[:MAX_SHOWN]}") from error


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise ArtifactError unless the entries can be what torch.save wrote: each once, uncompressed, all in the file.

    Compressed ones would grow when read, and of two with one name torch may read the other than we.
    """
    entries = archive.infolist()
    is_plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    is_unique = len({entry.filename for entry in entries}) == len(entries)
    if (
        not is_plain
        or not is_unique
        or not _ends_plainly(path)
        or sum(entry.file_size for entry in entries) > path.stat().st_size
    ):
        raise ArtifactError(f"{path} is refused: torch.save packs its entries otherwise")


def _ends_plainly(path: Path) -> bool:
    """Return whether the list of an archive's entries lies where it says, at the file's very end.

    Of other files, with something before or behind, torch may read another list than Python's zipfile does.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _END_BYTES, 0))
        signature, *_, list_bytes, list_start, comment_bytes = struct.unpack("<4s4H2LH", file.read(_END_BYTES))
    gap = size - _END_BYTES - list_start - list_bytes
    return signature == b"PK\x05\x06" and comment_bytes == 0 and (gap in (0, _END64_BYTES) or list_start == 2**32 - 1)


class _Ordered(dict[Any, Any]):
    """Take the place of OrderedDict, without what a pickle may set on it: attributes that stand in for its methods."""

    __slots__ = ()

    def __init__(self) -> None:
        """Begin empty, as torch.save writes it: an argument would be copied each time that it is named."""

    def __setstate__(self, state: object) -> None:
        """Ignore it."""


class _PlainUnpickler(pickle.Unpickler):
    """Read plain values; describe tensors by their storage; refuse every other class by its name."""

    def __init__(self, file: io.BytesIO, storage_bytes: Mapping[str, int]) -> None:
        super().__init__(file)
        self._storage_bytes = storage_bytes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _Ordered
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _describe_parameter
        if module in ("torch", "torch.storage") and (name.endswith("Storage") or name in _DTYPE_BYTES):
            return name
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and a checkpoint holds only tensors and plain values")

    def persistent_load(self, pid: Any) -> tuple[int, int]:
        kind, storage, key, _, num_elements = pid
        element_bytes = _DTYPE_BYTES.get(storage)
        if kind != "storage" or element_bytes is None:
            raise pickle.UnpicklingError(f"it holds a tensor of the unknown type {storage!r}")
        if num_elements * element_bytes > self._storage_bytes.get(str(key), 0):
            raise pickle.UnpicklingError("a tensor claims more bytes than the file holds")
        return num_elements, element_bytes


_DTYPE_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}


def _describe_tensor(
    storage: tuple[int, int], offset: int, size: tuple[int, ...], stride: Any, *_: Any
) -> StoredTensor:
    """Take the place of torch's function of that name: check that the view lies inside its storage."""
    num_elements, element_bytes = storage
    if len(size) > MAX_DIMENSIONS:
        raise pickle.UnpicklingError(f"a tensor of {len(size):,} dimensions")
    reach = sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1 if math.prod(size) else 0
    if offset < 0 or min((*size, *stride), default=0) < 0 or offset + reach > num_elements:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    if math.prod(size) > num_elements:
        raise pickle.UnpicklingError(f"a tensor of {math.prod(size):,} elements claims to lie in {num_elements:,}")
    return StoredTensor(math.prod(size), math.prod(size) * element_bytes)


def _describe_parameter(data: StoredTensor, *_: Any) -> StoredTensor:
    """Take the place of torch's function of that name: a parameter is its tensor."""
    if not isinstance(data, StoredTensor):
        raise pickle.UnpicklingError("a parameter that is no tensor")
    return data
