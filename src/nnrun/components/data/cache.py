"""Decoded samples in a cache: written atomically, verified before use.

The cache is a folder of the user, never beside the data: `NNRUN_CACHE`, or nnrun in `XDG_CACHE_HOME`, or
~/.cache/nnrun. Each source has a folder there, and each of its states and settings an entry of three files:
`KEY.samples`, the raw values; `KEY.measures`; and `KEY.json`, which is written last: without it the others are ignored.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError, ResourceError
from nnrun.base.files import DurableFile, free_bytes, sweep_temporaries
from nnrun.base.foreign_errors import explain
from nnrun.base.meter import meter
from nnrun.base.threads import in_threads
from nnrun.components.data.sample_stats import SHA256_BYTES, Measures
from nnrun.core.lazy_samples import Stored

# The format of entries; those of another version are removed, and their samples decoded again.
VERSION = 3
BLOCK_BYTES = 2**26
# Verifying more takes too long: of larger files, evenly spread blocks of this total size are verified.
MAX_CHECKED_BYTES = 2**32
DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


@dataclass(frozen=True)
class Entry:
    """Decoded samples: where they are, their measures, and what else was found."""

    samples: Stored
    measures: Measures
    found: dict[str, Any]


def cache_root() -> Path:
    """Return the folder of nnrun's cache."""
    if own := os.environ.get("NNRUN_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()).absolute() / "nnrun"


class Cache:
    """The entries of one source. `state` describes its files, `settings` how they are decoded."""

    def __init__(self, source: str, state: str, settings: Any) -> None:
        self.folder = cache_root() / "data" / _digest(source)[:16]
        self._state = _digest(f"{VERSION} {state}")[:16]
        self._key = f"{self._state}-{_digest(json.dumps(settings, sort_keys=True))[:16]}"

    def read(self) -> Entry | None:
        """Return the entry, or None where there is no intact one."""
        # Whatever is wrong with it, it can be made again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RuntimeError):
            return self._read()
        return None

    def _read(self) -> Entry | None:
        written = json.loads(self._path("json").read_text(encoding="utf-8"))
        content = written["content"]
        if written["sha256"] != _digest(json.dumps(content, sort_keys=True)):
            return None
        shape, dtype = tuple(content["shape"]), DTYPES[content["dtype"]]
        samples, measures = self._path("samples"), _bytes_of(self._path("measures"))
        if measures[:SHA256_BYTES].numpy().tobytes().hex() != content["measures"]:
            return None
        if not _blocks_agree(samples, content["blocks"], content["num_bytes"]):
            return None
        stored = Stored(functools.partial(map_file, samples, shape, dtype), is_mapped=True)
        return Entry(stored, Measures.unpacked(measures), content["found"])

    def measures(self, compute: Callable[[], Measures]) -> Measures:
        """Return the measures of samples stored elsewhere, from the cache; if missing, compute and store them."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RuntimeError):
            return Measures.unpacked(_bytes_of(self._path("measures")))
        with self.alone():
            measures = compute()
            self._write_measures(measures)
            self._remove_stale()
        return measures

    def _write_measures(self, measures: Measures) -> str:
        """Write measures; return the sha256 with which they are verified."""
        packed = measures.packed()
        with writing(self.folder), DurableFile(self.folder) as file:
            for part in packed:
                file.write(part)
            file.commit(self._path("measures").name)
        return packed[0].hex()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the source's folder: another process that decodes the same waits, and then finds it done."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            sweep_temporaries(self.folder)
            yield
        finally:
            os.close(descriptor)

    def write(self, chunks: Iterable[tuple[Tensor, Measures]], num_bytes: int, found: dict[str, Any]) -> Entry:
        """Store samples as they come, with `found`, which may be filled meanwhile; return the entry.

        Only under `alone`. Entries of earlier states of the source are removed. Raises ResourceError where there is
        no room for about `num_bytes`.
        """
        free = free_bytes(self.folder)
        if free is not None and free < num_bytes:
            raise ResourceError(
                f"the decoded samples take {num_bytes:,} bytes, but {self.folder} has {free:,} free; free some space, "
                "set NNRUN_CACHE to another folder, or use a smaller data.image_size"
            )
        measured: list[Measures] = []
        num_samples, dtype = 0, torch.uint8
        shape: tuple[int, ...] = ()
        with writing(self.folder), DurableFile(self.folder) as file:
            blocks = _Blocks()
            for samples, measures in chunks:
                values = samples.contiguous().view(torch.uint8).numpy().reshape(-1)
                file.write(values)
                blocks.add(values)
                measured.append(measures)
                num_samples, shape, dtype = num_samples + len(samples), tuple(samples.shape[1:]), samples.dtype
            if num_samples == 0:
                raise DataError("no sample could be read")
            file.commit(self._path("samples").name)
            content = {
                "version": VERSION,
                "shape": [num_samples, *shape],
                "dtype": str(dtype).removeprefix("torch."),
                "num_bytes": file.num_bytes,
                "blocks": blocks.done(),
                "found": found,
            }
        content["measures"] = self._write_measures(Measures.together(measured))
        with writing(self.folder), DurableFile(self.folder) as file:
            written = {"sha256": _digest(json.dumps(content, sort_keys=True)), "content": content}
            file.write(json.dumps(written).encode())
            file.commit(self._path("json").name)
        self._remove_stale()
        entry = self._read()
        assert entry is not None, "what was just written is intact"
        return entry

    def _remove_stale(self) -> None:
        """Remove the entries of earlier states."""
        for path in self.folder.iterdir():
            if not path.name.startswith((".", self._state)):
                path.unlink(missing_ok=True)

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self._key}.{suffix}"


class _Blocks:
    """The sha256 of each block of a file that is written in pieces."""

    def __init__(self) -> None:
        self._hashes: list[str] = []
        self._hash, self._room = hashlib.sha256(), BLOCK_BYTES

    def add(self, values: Any) -> None:
        """Take the next bytes."""
        while len(values):
            part, values = values[: self._room], values[self._room :]
            self._hash.update(part)
            self._room -= len(part)
            if self._room == 0:
                self._hashes.append(self._hash.hexdigest())
                self._hash, self._room = hashlib.sha256(), BLOCK_BYTES

    def done(self) -> list[str]:
        """Return the hashes of all blocks; the last may be short."""
        return [*self._hashes, self._hash.hexdigest()] if self._room < BLOCK_BYTES else self._hashes


def map_file(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return the raw values of a file as a memory-mapped tensor."""
    num_values = functools.reduce(int.__mul__, shape, 1)
    return torch.from_file(str(path), shared=False, size=num_values, dtype=dtype).view(shape)


def _bytes_of(path: Path) -> Tensor:
    """Return the bytes of a file, uint8 `(B,)`, memory-mapped; raise OSError where there is none."""
    return map_file(path, (path.stat().st_size,), torch.uint8)


def _blocks_agree(path: Path, hashes: list[str], num_bytes: int) -> bool:
    """Return whether a file has its length and its blocks their hashes; in a very large file, some blocks."""
    if path.stat().st_size != num_bytes or len(hashes) != -(-num_bytes // BLOCK_BYTES):
        return False
    most = MAX_CHECKED_BYTES // BLOCK_BYTES
    chosen = range(len(hashes)) if len(hashes) <= most else [i * len(hashes) // most for i in range(most)]

    def agrees(index: int) -> bool:
        with path.open("rb") as file:
            file.seek(index * BLOCK_BYTES)
            return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest() == hashes[index]

    with (
        meter("checking the decoded samples", len(chosen) * BLOCK_BYTES, "bytes") as advance,
        contextlib.closing(in_threads(agrees, chosen, 4)) as agreeing,
    ):
        for does_agree in agreeing:
            if not does_agree:
                return False
            advance(BLOCK_BYTES)
    return True


def _digest(text: str) -> str:
    """Return the sha256 of a text; bytes of names that are not UTF-8 are kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a disk error into a ResourceError that names the cache and says what to do."""
    try:
        yield
    except OSError as error:
        # The error names a parent folder where that cannot be made.
        failed = folder if error.filename is None else Path(error.filename)
        if not (failed.is_relative_to(folder) or folder.is_relative_to(failed)):
            raise
        reason = explain(error).partition(";")[0]
        raise ResourceError(
            f"cannot write the cache {folder}: {reason}; free some space, or set NNRUN_CACHE to another folder"
        ) from error
