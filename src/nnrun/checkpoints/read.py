"""Read a checkpoint, or another file of weights: once, without torch.

A checkpoint is untrusted. Its zip file and its pickle are read by nnrun's own readers, which can build only plain
values, and descriptions of where tensors are stored. The file is not parsed a second time: tensors.py makes tensors
from these descriptions.
"""

from __future__ import annotations

import functools
import operator
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from nnrun.base.errors import CONTROL, ArtifactError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.aliases import with_current_names
from nnrun.checkpoints.locate import Located
from nnrun.checkpoints.model_card import Card, read_card
from nnrun.checkpoints.payload import checked_payload, checked_targets, is_checkpoint, weights_in
from nnrun.checkpoints.safe_pickle import MAX_PICKLE_BYTES, BadPickle, PlainUnpickler
from nnrun.checkpoints.safetensors_file import describe
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun, SavedWeights
from nnrun.checkpoints.stored_tensors import NAMES, Storages
from nnrun.checkpoints.zip_entries import NotZip, OddZip, Region, entries_of

# Maximum number of characters of an error in a message.
MAX_SHOWN = 300
SAFETENSORS_SUFFIX = ".safetensors"
_CODE_MARKS = {"constants.pkl": "TorchScript", "models/": "a .pt2 program", "MAR-INF/": "a TorchServe archive"}
_NEWEST_VERSION = 10
_MAX_SMALL_BYTES = 64


def read_saved(located: Located) -> SavedWeights:
    """Read a verified file: return a SavedRun for a checkpoint, a SavedNetwork for weights that nnrun exported.

    Other weights are SavedWeights. Tensors are described, and no code is run. Raises ArtifactError where the file is
    none of these, where a tensor claims more than the file holds, or where a value is nested too deep, too large, or
    contains `${`, which would be interpolated.
    """
    if located.path.suffix == SAFETENSORS_SUFFIX:
        groups: dict[tuple[str, ...], Mapping[str, Any]] = {(): describe(located.file)}
    else:
        content = read_pickle(located.file)
        places = None if is_checkpoint(content) else weights_in(content)
        if places is None:
            return _run_of(content, located)
        groups = {keys: functools.reduce(operator.getitem, keys, content) for keys in places}
    card = read_card(located.file)
    return SavedWeights(located, groups) if card is None else SavedNetwork(located, groups, card)


def read_run(located: Located) -> SavedRun:
    """Read a verified checkpoint; raise ArtifactError as `read_saved` does, and for weights alone."""
    return _run_of(read_pickle(located.file), located)


def _run_of(content: Any, located: Located) -> SavedRun:
    """Return the content of a checkpoint, with the current names of classes."""
    payload = checked_payload(content, located.path)
    config, preprocessing = (with_current_names(payload[key]) for key in ("config", "preprocessing"))
    return SavedRun(
        located,
        {("model",): payload["model"]},
        Card(
            config,
            checked_targets(payload["targets"], f"{located.path}: targets"),
            preprocessing,
            payload.get("problem"),
        ),
        payload["training"],
        payload["data_fingerprint"],
        payload["threads"],
        payload.get("seen"),
    )


def read_pickle(file: OpenFile) -> Any:
    """Return the content of the pickle in a torch zip file; raise ArtifactError where it is anything else.

    Tensors are StoredTensor, dictionaries are plain, and harmless values without a use are Inert.
    """
    path = file.path
    try:
        file.stream.seek(0)
        if file.stream.read(1) == b"\x80":
            raise ArtifactError(
                f"{path} is a bare pickle, as torch before 1.6 wrote it: reading it could run untrusted code; "
                "if you trust it, load it with torch and save it again with torch.save"
            )
        entries = _entries(file)
        root, content = _opened(file, entries)
        storages = Storages({name.removeprefix(root + "data/"): region for name, region in entries.items()})
        return PlainUnpickler(content, NAMES, storages.find).load()
    except (NotZip, OSError) as error:
        raise ArtifactError(f"{path} is not a checkpoint of nnrun, or it is damaged: {error}") from error
    except OddZip as error:
        raise ArtifactError(f"{path} is refused: torch.save does not write such a zip file: {error}") from error
    except BadPickle as error:
        raise ArtifactError(f"{path} is refused: {CONTROL.sub('?', str(error))[:MAX_SHOWN]}") from error


def _entries(file: OpenFile) -> dict[str, Region]:
    """Return the entries of a file; raise ArtifactError where they are those of a program, however it is packed."""
    odd: OddZip | None = None
    entries: dict[str, Region] = {}
    try:
        entries = entries_of(file.stream)
    except OddZip as error:
        odd = error
    names = _names_of_any(file) if odd else list(entries)
    for mark, kind in _CODE_MARKS.items():
        if any(mark in name for name in names):
            raise ArtifactError(f"{file.path} is {kind}: that is code, and nnrun does not run untrusted code")
    if odd:
        raise odd
    return entries


def _names_of_any(file: OpenFile) -> list[str]:
    """Return the names in a zip file of any kind, for a message."""
    try:
        with zipfile.ZipFile(file.stream) as archive:
            return archive.namelist()
    except Exception:  # on an untrusted file it may fail in any way
        return []


def _opened(file: OpenFile, entries: Mapping[str, Region]) -> tuple[str, bytes]:
    """Return the root folder inside a torch zip file, and the pickle in it.

    Raises ArtifactError where there is no pickle or more than one, and where the format's version is unknown.
    """
    pickles = [name for name in entries if name.lower().endswith("data.pkl")]
    if len(pickles) != 1 or not pickles[0].endswith("/data.pkl") or entries[pickles[0]].size > MAX_PICKLE_BYTES:
        raise ArtifactError(f"{file.path} is not a checkpoint of nnrun")
    root = pickles[0].removesuffix("data.pkl")
    small = {
        key: entries[root + key].read(file.stream)
        for key in ("version", "byteorder")
        if root + key in entries and entries[root + key].size <= _MAX_SMALL_BYTES
    }
    version = small.get("version", b"").strip()
    if not re.fullmatch(rb"\d{1,3}", version) or not 1 <= int(version) <= _NEWEST_VERSION:
        raise ArtifactError(f"{file.path} is refused: torch.save does not write its version of the format")
    if root + "byteorder" in entries and small.get("byteorder") != b"little":
        raise ArtifactError(f"{file.path} is refused: its numbers are not little-endian")
    return root, entries[pickles[0]].read(file.stream)
