"""Data sets of Hugging Face on disk: as `save_to_disk` writes them, or as Parquet; their library is not needed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.layout import part_and_rest
from nnrun.components.data.opened_images import reading

# What `save_to_disk` writes beside the files with the rows: of one data set, and of several as its splits.
_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
# How the name of one of several files of a split ends: train-00000-of-00002.parquet.
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}(?=\.|$)")
_PARTS = ("train", "valid", "test")
# Files of columns with types, which are read as tables are.
COLUMN_SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")


def is_saved_set(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote a folder, with one data set or with its splits."""
    return any((folder / name).is_file() for name in (_STATE, _SPLITS))


def saved_parts(folder: Path) -> tuple[dict[str, list[Path]], str]:
    """Return the files with the rows of each split that `save_to_disk` wrote, `all` for a single data set, and a note
    on splits with other names, which is empty where there are none.
    """
    if not (folder / _SPLITS).is_file():
        return {"all": _shards(folder)}, ""
    parts: dict[str, list[Path]] = {}
    others = []
    names = _json(folder / _SPLITS).get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataError(f"{shown(folder / _SPLITS)} lists no splits; save the data set again with save_to_disk")
    for name in names:
        part = part_and_rest(name)[0]
        if part not in _PARTS:
            others.append(name)
        elif part in parts:
            raise DataError(f"{shown(folder)} has two splits for {part}, one of them {shown(name)}; remove one")
        else:
            parts[part] = _shards(folder / name)
    if not parts:
        raise DataError(f"{shown(folder)} has the splits {few(names)}; name the one to learn from: data.root=")
    note = f"{shown(folder)}: left out the splits {few(others)}" if others else ""
    return {part: parts[part] for part in _PARTS if part in parts}, note


def check_trains(parts: Mapping[str, Sequence[Path]], root: str, *, for_test: bool) -> None:
    """Raise DataError where there is no split to train on; with `for_test`, a test split is enough."""
    if not parts.keys() & ({"train", "all", "test"} if for_test else {"train", "all"}):
        raise DataError(f"data.root={shown(root)} has no split train; it has {few(list(parts))}")


def saved_rows(folder: Path) -> list[Path]:
    """Return the files with the rows of a single saved data set; raise DataError if it has splits."""
    parts, _ = saved_parts(folder)
    if "all" not in parts:
        raise DataError(
            f"{shown(folder)} has the splits {few(list(parts))}; name the folder of one: {shown(folder)}/test"
        )
    return parts["all"]


def _shards(folder: Path) -> list[Path]:
    """Return the files with the rows of a saved data set, in order."""
    listed = _json(folder / _STATE).get("_data_files")
    names = [each.get("filename") if isinstance(each, Mapping) else None for each in listed or ()]
    files = [folder / name for name in names if isinstance(name, str) and Path(name).name == name]
    if not files or len(files) < len(names):
        raise DataError(f"{shown(folder / _STATE)} lists no files; save the data set again with save_to_disk")
    for file in files:
        if not file.is_file():
            raise DataError(f"{shown(file)} is missing: {_STATE} lists it; save the data set again with save_to_disk")
    return files


def holds_columns(path: Path) -> bool:
    """Return whether a file is Parquet or Arrow, by its name."""
    return path.suffix.lower() in COLUMN_SUFFIXES


def parts_below(root: Path) -> tuple[dict[str, list[Path]], str]:
    """Return the files of Parquet or Arrow below a folder, by split, and a note on others, which is empty without any.

    They are where a repository of the hub has them: in the folder, in `data`, in a folder of the data set's
    configuration, or in a folder for each split. Without splits there is one, `all`. Nothing where there are no files;
    raises DataError where they are several data sets.
    """
    found: dict[Path, dict[str, list[Path]]] = {}
    for file in sorted(path for path in root.rglob("*") if holds_columns(path) and path.is_file()):
        inside = file.relative_to(root)
        if any(name.startswith((".", "_")) for name in inside.parts):
            continue
        part, folder = part_and_rest(whole_name(file).partition(".")[0])[0], inside.parent
        if part not in _PARTS and part_and_rest(folder.name)[0] in _PARTS:
            part, folder = part_and_rest(folder.name)[0], folder.parent
        found.setdefault(folder, {}).setdefault(part if part in _PARTS else "all", []).append(file)
    if len(found) > 1:
        first = shown(root / next(iter(found)))
        raise DataError(f"{shown(root)} has data sets in {few([str(of) for of in found])}; name one: data.root={first}")
    parts, note = next(iter(found.values()), {}), ""
    if "train" in parts and "all" in parts:
        note = f"{shown(root)}: left out {few([file.name for file in parts.pop('all')])}"
    groups = list(parts.values()) if "all" not in parts else [[file for files in parts.values() for file in files]]
    for files in groups:
        # Several files of a split differ in their numbers alone.
        if len({re.sub("[0-9]+", "", whole_name(file)) for file in files}) > 1:
            names = few([shown(file.name) for file in files])
            raise DataError(f"{shown(root)} has several tables, {names}: name one, or call them train and test")
    return {part: parts[part] for part in (*_PARTS, "all") if part in parts}, note


def whole_name(file: Path) -> str:
    """Return the name of a file without the number of a shard: the same for all files of a split."""
    return _SHARD.sub("", file.name)


def features_beside(file: Path) -> Mapping[str, Any]:
    """Return what `save_to_disk` wrote about the columns of an Arrow file; nothing where it did not write it."""
    info = file.parent / _INFO
    return _json(info).get("features") or {} if info.is_file() else {}


def features_in(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what Hugging Face's library wrote about the columns into the metadata of a Parquet file."""
    try:
        found = json.loads(metadata.get("huggingface", "{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def class_names(feature: Any) -> Sequence[str] | None:
    """Return the names of the classes that the numbers of a column stand for; None where they are no classes."""
    if not isinstance(feature, Mapping) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def inner(feature: Any) -> Any:
    """Return what the lists of a column hold; None where it is not a column of lists."""
    if isinstance(feature, list):  # as versions before 4 write it
        return feature[0] if feature else None
    return feature.get("feature") if isinstance(feature, Mapping) else None


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a saved data set; raise DataError where it is none."""
    with reading(path):
        content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{shown(path)} is not a JSON object")
    return found
