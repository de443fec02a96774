"""Read the plain values inside a checkpoint without torch.

A checkpoint is a stranger's. Its zip file and its pickle are read by readers of our own, which can build nothing but
plain values; tensors are descriptions of where their numbers lie. Nobody reads the file another time in another way:
tensors.py beside it makes tensors of these descriptions.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnrun.base.errors import CONTROL, ArtifactError
from nnrun.checkpoints.aliases import with_current_names
from nnrun.checkpoints.payload import check_contents, weights_in
from nnrun.checkpoints.safe_pickle import MAX_PICKLE_BYTES, BadPickle, PlainUnpickler
from nnrun.checkpoints.stored_tensors import NAMES, Storages
from nnrun.checkpoints.zip_entries import NotZip, OddZip, Region, entries_of

# Characters of an error in a message.
MAX_SHOWN = 300
SAFETENSORS_SUFFIX = ".safetensors"
_CODE_MARKS = {"constants.pkl": "TorchScript", "models/": "a .pt2 program", "MAR-INF/": "a TorchServe archive"}
_NEWEST_VERSION = 10
_MAX_SMALL_BYTES = 64


def peek(path: Path) -> dict[str, Any]:
    """Return the plain values of a verified checkpoint, tensors as StoredTensor; nothing of it is run.

    Raises ArtifactError where the file is no checkpoint of nnrun's, where a tensor claims more than the file holds, or
    where a value is nested too deep, too large, or holds `${`, which a resolver would act on.
    """
    payload = read_pickle(path)
    check_contents(payload, path)
    return payload | {key: with_current_names(payload[key]) for key in ("config", "preprocessing")}  # type: ignore[no-any-return]


def holds_weights_alone(path: Path) -> bool:
    """Return whether a file is a state dict from elsewhere, and no checkpoint of nnrun's."""
    if path.suffix == SAFETENSORS_SUFFIX:
        return True
    payload = read_pickle(path)
    return not (isinstance(payload, dict) and "schema" in payload) and weights_in(payload) is not None


def read_pickle(path: Path) -> Any:
    """Return what the pickle inside a torch zip file describes; raise ArtifactError where it is anything else.

    Tensors are StoredTensor, dictionaries plain ones, and what is harmless and of no use is Inert.
    """
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise ArtifactError(
                    f"{path} is a bare pickle, as torch before 1.6 wrote it: reading it could run a stranger's code; "
                    "if you trust it, load it with torch and save it again with torch.save"
                )
        entries = _entries(path)
        root, content = _opened(path, entries)
        storages = Storages({name.removeprefix(root + "data/"): region for name, region in entries.items()})
        return PlainUnpickler(content, NAMES, storages.find).load()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is gone: its run has newer ones by now, or somebody removed it; try again"
        ) from error
    except (NotZip, OSError) as error:
        raise ArtifactError(f"{path} is not a checkpoint of nnrun, or it is damaged: {error}") from error
    except OddZip as error:
        raise ArtifactError(f"{path} is refused: torch.save packs its entries otherwise: {error}") from error
    except BadPickle as error:
        raise ArtifactError(f"{path} is refused: {CONTROL.sub('?', str(error))[:MAX_SHOWN]}") from error


def _entries(path: Path) -> dict[str, Region]:
    """Return the entries of a file; raise ArtifactError where they are a program's, which may be packed in any way."""
    odd: OddZip | None = None
    entries: dict[str, Region] = {}
    try:
        entries = entries_of(path)
    except OddZip as error:
        odd = error
    names = _names_of_any(path) if odd else list(entries)
    for mark, kind in _CODE_MARKS.items():
        if any(mark in name for name in names):
            raise ArtifactError(f"{path} is {kind}: that is code, and nnrun does not run a stranger's code")
    if odd:
        raise odd
    return entries


def _names_of_any(path: Path) -> list[str]:
    """Return the names in a zip file of any kind, for a message."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # of a stranger's file, it may fail in any way
        return []


def _opened(path: Path, entries: Mapping[str, Region]) -> tuple[str, bytes]:
    """Return the folder in which all of a torch zip file lies, and the pickle in it.

    Raises ArtifactError where there is none, or more than one, and where it is written in a way that is not known.
    """
    pickles = [name for name in entries if name.lower().endswith("data.pkl")]
    if len(pickles) != 1 or not pickles[0].endswith("/data.pkl") or entries[pickles[0]].size > MAX_PICKLE_BYTES:
        raise ArtifactError(f"{path} is not a checkpoint of nnrun")
    root = pickles[0].removesuffix("data.pkl")
    with path.open("rb") as file:
        small = {
            key: entries[root + key].read(file)
            for key in ("version", "byteorder")
            if root + key in entries and entries[root + key].size <= _MAX_SMALL_BYTES
        }
        version = small.get("version", b"").strip()
        if not re.fullmatch(rb"\d{1,3}", version) or not 1 <= int(version) <= _NEWEST_VERSION:
            raise ArtifactError(f"{path} is refused: its format is of no version that torch.save writes")
        if root + "byteorder" in entries and small.get("byteorder") != b"little":
            raise ArtifactError(f"{path} is refused: its numbers were written in the byte order of another machine")
        return root, entries[pickles[0]].read(file)
