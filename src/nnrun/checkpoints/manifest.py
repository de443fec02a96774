"""The manifest of a run's checkpoint files: which is best or last, and the size and sha256 to verify before reading."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError
from nnrun.base.files import read_json
from nnrun.base.open_file import OpenFile

SCHEMA = 1
# The schema of a checkpoint file. Schema 1 (0.2.0) has `class_names` instead of `targets`; schema 2 (0.3.0) has no
# `problem`, no step of the newest validation and no gradient norm.
CHECKPOINT_SCHEMA = 3
FOLDER_NAME = "checkpoints"
MANIFEST_NAME = "manifest.json"
# With these words begins the way out of a damaged manifest.
ADVICE = "the newest intact checkpoint"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,194}\.ckpt")


@dataclass(frozen=True)
class ManifestEntry:
    """A checkpoint file as the manifest lists it."""

    name: str
    sha256: str
    bytes: int
    step: int
    schema: int = CHECKPOINT_SCHEMA


@dataclass(frozen=True)
class Manifest:
    """The files of a `checkpoints` folder, oldest first, and which of them are the best and the last."""

    files: tuple[ManifestEntry, ...] = ()
    best: str | None = None
    last: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as written to disk, with its own hash, since it decides which files are removed."""
        content = {
            "schema": SCHEMA,
            "best": self.best,
            "last": self.last,
            "files": [vars(entry) for entry in self.files],
        }
        return content | {"sha256": _hash_of(content)}


def _hash_of(content: Mapping[str, Any]) -> str:
    """Return the hash of a manifest's other content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a `checkpoints` folder; raise ArtifactError if it is missing or unreadable."""
    path = folder / MANIFEST_NAME
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path} is not a file")
    try:
        value = read_json(path)
        stated = value.pop("sha256", None)
        is_whole = set(value) <= {"schema", "best", "last", "files"} and stated in (None, _hash_of(value))
        files = tuple(
            ManifestEntry(str(row["name"]), str(row["sha256"]), int(row["bytes"]), int(row["step"]), int(row["schema"]))
            for row in value["files"]
        )
        best, last = (None if value[key] is None else str(value[key]) for key in ("best", "last"))
        manifest = Manifest(files, best, last)
    except FileNotFoundError as error:
        way_out = _by_themselves(folder) or "start the run again"
        raise ArtifactError(f"{folder.parent} has no checkpoint yet ({path} is missing); {way_out}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        raise ArtifactError(
            "; ".join(filter(None, [f"{path} cannot be read: {error}", _by_themselves(folder)]))
        ) from error
    for name in [entry.name for entry in files] + [name for name in (manifest.best, manifest.last) if name]:
        if not _FILE_NAME.fullmatch(name):
            raise ArtifactError(f"{path} names a file that is not a checkpoint in its folder: {ascii(name)[:80]}")
    for entry in files:
        _check_schema(folder / entry.name, entry)
    if not is_whole:
        raise ArtifactError("; ".join(filter(None, [f"{path} is damaged", _by_themselves(folder)])))
    return manifest


def _by_themselves(folder: Path) -> str:
    """Return advice for a run without a manifest: the newest file that matches the hash in its name, if there is one.

    It may not be the best checkpoint, and later steps are lost, so the user decides.
    """
    for path in sorted(folder.glob("step-*.ckpt"), reverse=True):
        with suppress(ArtifactError):
            _open_verified(path, None).close()
            return f"{ADVICE} can be used on its own: ckpt={path} or init_from={path}"
    return ""


def _check_schema(path: Path, entry: ManifestEntry) -> None:
    """Raise ArtifactError where a file was written by a later version of this program."""
    if entry.schema > CHECKPOINT_SCHEMA:
        raise ArtifactError(f"{path} was written by a newer nnrun (schema {entry.schema}); upgrade nnrun")


def open_verified(path: Path, entry: ManifestEntry | None = None) -> OpenFile:
    """Open a file, and verify the size and sha256 that the manifest, or its own name, states.

    Raises ArtifactError where they differ. If neither states any, the file is not verified.
    """
    if entry is None and path.parent.name == FOLDER_NAME and (path.parent / MANIFEST_NAME).is_file():
        # If the manifest is damaged, the digits in the name are verified.
        with suppress(ArtifactError):
            entry = next((row for row in read_manifest(path.parent).files if row.name == path.name), None)
    return _open_verified(path, entry)


def _open_verified(path: Path, entry: ManifestEntry | None) -> OpenFile:
    """Open a file, and verify it by an entry of the manifest or, without one, by its own name."""
    try:
        file = OpenFile(path)
        size = file.num_bytes
        if size == 0:
            raise ArtifactError(f"{path} is empty")
        if entry is not None and size != entry.bytes:
            raise ArtifactError(f"{path} is damaged: it has {size:,} bytes, but the manifest says {entry.bytes:,}")
        stated = entry.sha256 if entry else _digits_in_name(path)
        if stated and not file.sha256.startswith(stated):
            raise ArtifactError(f"{path} is damaged: its sha256 differs from the one that was saved")
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    return file


def is_whole(folder: Path, entry: ManifestEntry) -> bool:
    """Return whether a file that the manifest lists exists as it was saved."""
    try:
        open_verified(folder / entry.name, entry).close()
    except ArtifactError:
        return False
    return True


def _digits_in_name(path: Path) -> str:
    """Return the first digits of the sha256 that a name like `x-1a2b3c4d.ckpt` states, or an empty string."""
    digits = path.stem.rpartition("-")[2]
    return digits if len(digits) == 8 and set(digits) <= set("0123456789abcdef") and "-" in path.stem else ""
