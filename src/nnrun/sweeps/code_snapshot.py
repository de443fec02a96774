"""A copy of the user's config folder and modules in the folder of a sweep: an edit while jobs wait changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.files import saving, sha256_of

# Larger files are data, which jobs read where they are.
_MOST_BYTES = 2**20
_MODULES = (".py", ".so")
# Folders that hold no modules of the user.
_NOT_CODE = ("__pycache__", "outputs", "node_modules", "site-packages")


@dataclass(frozen=True)
class Snapshot:
    """The folder of the copies; the copied config folders, and the folders that the copied modules are imported from.

    `is_changed` says that an earlier snapshot of the sweep has other content.
    """

    folder: Path
    own: tuple[Path, ...]
    modules: tuple[Path, ...]
    is_changed: bool


def take_snapshot(own: Sequence[Path], folder: Path) -> Snapshot:
    """Copy the user's config folders, the modules beside them and those of the current folder into a new `folder`.

    Modules are the files `*.py`, and the folders with such files, of which files below a megabyte are copied. In a
    resumed sweep the folder exists: if its content is the same it is used, else the copy is `folder-2`, and so on. The
    jobs that still run have the older one, which is never run unless the user's own files are the same.
    """
    places = list(dict.fromkeys(path.resolve() for path in (Path.cwd(), *(one.parent for one in own))))
    fresh = folder.with_name(f".{folder.name}-{os.getpid()}.tmp")
    with saving(folder):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for number, place in enumerate(places):
            wanted = [*_modules_in(place, folder), *(path for one in own for path in _files_of(one, place))]
            for path in dict.fromkeys(wanted):
                target = fresh / str(number) / path.relative_to(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
        content, earlier = _content_of(fresh), [folder]
        while earlier[-1].exists() and _content_of(earlier[-1]) != content:
            earlier.append(folder.with_name(f"{folder.name}-{len(earlier) + 1}"))
        if earlier[-1].exists():
            shutil.rmtree(fresh)
        else:
            fresh.replace(earlier[-1])
    copies = {place: earlier[-1] / str(number) for number, place in enumerate(places)}
    configs = tuple(copies[one.resolve().parent] / one.name for one in own)
    return Snapshot(earlier[-1], configs, tuple(copies.values()), len(earlier) > 1)


def _content_of(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a snapshot, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _files_of(own: Path, place: Path) -> Iterator[Path]:
    """Yield the files of a config folder that is in a place."""
    if own.resolve().parent == place:
        yield from (path for path in sorted((place / own.name).rglob("*")) if path.is_file())


def _modules_in(place: Path, left_out: Path) -> Iterator[Path]:
    """Yield the files of the modules and packages in a folder, without what is in the folder of the sweep."""
    for path in sorted(place.iterdir()):
        if path.suffix in _MODULES and path.is_file():
            yield path
        elif path.name.isidentifier() and _is_code(path, left_out):
            yield from _package(path, left_out)


def _package(folder: Path, left_out: Path) -> Iterator[Path]:
    """Yield the small files of a folder that holds modules, and of such folders in it."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            if not path.name.startswith(".") and path.stat().st_size < _MOST_BYTES:
                yield path
        elif not path.name.startswith(".") and _is_code(path, left_out):
            yield from _package(path, left_out)


def _is_code(folder: Path, left_out: Path) -> bool:
    """Return whether a folder holds modules: reading stops at the first, so that a folder of data costs little."""
    if folder.name in _NOT_CODE or not folder.is_dir():
        return False
    whole = folder.resolve()
    if whole == left_out.parent.resolve() or folder.parent.resolve().is_relative_to(whole):  # a link to itself
        return False
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(_MODULES) for entry in entries)
    except OSError:
        return False
