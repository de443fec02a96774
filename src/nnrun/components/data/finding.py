"""Which image files there are below a folder, by their names."""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.components.data.opened_images import reading

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".avif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".jp2", ".j2k", ".pcx", ".sgi", ".qoi"),
    )
)
# iPhone photos, which Pillow reads with an extra package.
HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))


def has_image_suffix(name: str) -> bool:
    """Return whether a name has an image suffix, whether or not this installation reads the format."""
    return _suffix(name) in IMAGE_SUFFIXES | HEIC_SUFFIXES


def missing_folder(root: Path, wanted: str = "the folder of the images") -> DataError:
    """Return the error for a data.root that does not exist, with the most similar name beside it."""
    beside = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
    hint = did_you_mean(root.name, beside)
    return DataError(f"data.root={shown(root)} does not exist; {hint or f'name {wanted}'}")


def is_image_name(name: str) -> bool:
    """Return whether a file is read as an image, by the suffix of its name."""
    suffix = _suffix(name)
    return suffix in IMAGE_SUFFIXES or (suffix in HEIC_SUFFIXES and reads_heic())


def _suffix(name: str) -> str:
    """Return the suffix of a name in lower case."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - faster, for very many names


@functools.cache
def reads_heic() -> bool:
    """Return whether the package that reads HEIC is installed; it is imported with the first such file."""
    return importlib.util.find_spec("pillow_heif") is not None


@dataclass(frozen=True)
class Found:
    """The image files below a folder, in a stable order, the other files, and the number of hidden ones."""

    images: tuple[Path, ...]
    others: tuple[Path, ...]
    num_hidden: int


def find_images(folder: Path) -> Found:
    """Return the files below a folder with an image suffix, sorted by folder and name; links are followed.

    Files that cannot be read, such as broken links, are included: reading them raises the error. Each folder is entered
    once, so circular links end. Hidden files and folders (`.name`) are only counted. Raises DataError where a folder
    cannot be read.
    """
    images: list[Path] = []
    others: list[Path] = []
    num_hidden = 0
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with reading(here):
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        below = []
        for entry in listed:
            path = here / entry.name
            if entry.name.startswith("."):
                num_hidden += 1
            elif _is_folder(entry):
                below.append(path)
            else:
                (images if is_image_name(path.name) else others).append(path)
        waiting += reversed(below)
    return Found(tuple(images), tuple(others), num_hidden)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a broken or circular link is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False
