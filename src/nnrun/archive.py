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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.errors import CONTROL, ArtifactError
from nnrun.manifest import SCHEMA

# Without the tensors, which are entries of their own in the file, a checkpoint's values fill some kilobytes.
MAX_PICKLE_BYTES = 16 * 2**20
MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_CHARACTERS = 10_000
MAX_DIMENSIONS = 64
MAX_NUMBER = 2**63 - 1
MAX_THREADS = 4096
# Characters of an error that is not ours, in a message.
MAX_SHOWN = 300
_PARTS = {"config": dict, "class_names": list, "preprocessing": dict, "model": dict, "training": dict}
SAFETENSORS_SUFFIX = ".safetensors"
# Where trainers other than nnrun keep the state dict in what they save.
_WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "net")
# The record at a zip file's end, and what stands before it in the 64-bit form.
_END_BYTES, _END64_BYTES = 22, 56 + 20
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_CODE_MARKS = {"constants.pkl": "TorchScript", "models/": "a .pt2 program", "MAR-INF/": "a TorchServe archive"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the file describes it: nothing of it is read."""

    num_elements: int
    bytes: int


def peek(path: Path) -> dict[str, Any]:
    """Return the plain values of a verified checkpoint, tensors as StoredTensor; nothing of it is run.

    Raises ArtifactError where the file is no checkpoint of nnrun's, where a tensor claims more than the file holds, or
    where a value is nested too deep, too large, or holds `${`, which a resolver would act on.
    """
    payload = read_pickle(path)
    if not isinstance(payload, dict) or not _is_count(payload.get("schema"), 1):
        alone = " but weights alone; name their network with model=" if weights_in(payload) is not None else ""
        raise ArtifactError(f"{path} is not a checkpoint of nnrun{alone}")
    if payload["schema"] > SCHEMA:
        raise ArtifactError(f"{path} was written by a newer nnrun (schema {payload['schema']}); upgrade nnrun")
    for key, kind in _PARTS.items():
        if not isinstance(payload.get(key), kind):
            raise ArtifactError(f"{path} is not a checkpoint of nnrun: it carries no {key}")
    if unknown := set(payload) - {*_PARTS, "schema", "threads", "data_fingerprint"}:
        raise ArtifactError(
            f"{path} is not a checkpoint of nnrun: {len(unknown)} of its parts are none that nnrun saves"
        )
    progress = payload["training"].get("progress")
    plain = {key: payload[key] for key in ("config", "class_names", "preprocessing")}
    plain |= {"progress": progress, "watch": payload["training"].get("watch", {})}
    for key, value in plain.items():
        check_plain(value, f"{path}: {key}")
    if (
        not all(isinstance(name, str) for name in payload["class_names"])
        or not all(isinstance(payload["config"].get(key), dict) for key in ("model", "data", "loss", "trainer"))
        or not isinstance(payload["preprocessing"].get("_target_"), str)
        or not _is_state_dict(payload["model"])
        or not _is_count(payload.get("threads"), 1, MAX_THREADS)
        or not isinstance(payload.get("data_fingerprint"), str)
        or not isinstance(plain["watch"], dict)
        or not all(_is_count(count) for count in plain["watch"].values())
        or not _is_progress(progress)
    ):
        raise ArtifactError(f"{path} is not a checkpoint of nnrun: what it says of its run is not whole")
    return payload


def _is_progress(value: Any) -> bool:
    """Return whether a value says where a training stands."""
    counts = ("epoch", "batch", "step", "num_rows", "logged_step")
    if not isinstance(value, dict) or set(value) != {*counts, "best", "stop_reason"}:
        return False
    best, reason = value["best"], value["stop_reason"]
    has_best = best is None or (
        isinstance(best, dict)
        and set(best) == {"value", "epoch", "step"}
        and isinstance(best["value"], float | int)
        and _is_count(best["epoch"])
        and _is_count(best["step"])
    )
    return all(_is_count(value[key]) for key in counts) and has_best and isinstance(reason, str | None)


def _is_count(value: Any, low: int = 0, high: int = MAX_NUMBER) -> bool:
    """Return whether a value is a whole number in a range."""
    return type(value) is int and low <= value <= high


def holds_weights_alone(path: Path) -> bool:
    """Return whether a file is a state dict from elsewhere, and no checkpoint of nnrun's."""
    if path.suffix == SAFETENSORS_SUFFIX:
        return True
    payload = read_pickle(path)
    return not (isinstance(payload, dict) and "schema" in payload) and weights_in(payload) is not None


def weights_in(payload: Any) -> str | None:
    """Return where a state dict stands in what another trainer saved: a key, `""` for the whole, None for nowhere."""
    if not isinstance(payload, dict):
        return None
    return next((key for key in ("", *_WEIGHT_KEYS) if _is_state_dict(payload.get(key) if key else payload)), None)


def _is_state_dict(value: Any) -> bool:
    """Return whether a value is tensors by name."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, StoredTensor) for name, tensor in value.items())
        and all(len(name) <= MAX_CHARACTERS and _is_writable(name) for name in value)
    )


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


def check_plain(value: Any, where: str) -> None:
    """Raise ArtifactError unless `value` is a small tree of plain values in which nothing can act."""
    num_values = 1
    pending = [(value, 0)]
    while pending:
        node, depth = pending.pop()
        # Counted before it is listed: a list that holds itself a million times is small only in its file.
        if isinstance(node, dict | list | tuple):
            num_values += len(node) * (2 if isinstance(node, dict) else 1)
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            raise ArtifactError(f"{where} is refused: it is nested too deep or too large")
        if type(node) is dict:
            if not all(isinstance(key, str) for key in node):
                raise ArtifactError(f"{where} is refused: a key in it is no text")
            pending += [(key, depth + 1) for key in node] + [(item, depth + 1) for item in node.values()]
        elif type(node) is list:
            pending += [(item, depth + 1) for item in node]
        elif isinstance(node, str):
            if len(node) > MAX_CHARACTERS or not _is_writable(node):
                raise ArtifactError(f"{where} is refused: it holds a text of {len(node):,} characters, or an odd one")
            if "${" in node:
                raise ArtifactError(
                    f"{where} is refused: the text {node[:60]!r} holds '${{', which could act when read"
                )
        elif type(node) is int and not -MAX_NUMBER <= node <= MAX_NUMBER:
            raise ArtifactError(f"{where} is refused: it holds a number that is too large")
        elif node is not None and type(node) not in (bool, int, float):
            raise ArtifactError(f"{where} is refused: it holds a {type(node).__name__}")


def _is_writable(text: str) -> bool:
    """Return whether a text can be written to a file, and to a terminal without commanding it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return CONTROL.search(text) is None
