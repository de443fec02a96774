"""The note on files that are not read as images, in a class folder or below `input=`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nnrun.base.paths import shown

_FEW = 3
# Maximum number of files opened to find their format.
_MOST_OPENED = 1000
# How image files begin: bytes at an offset, and the format.
_BEGINNINGS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
)
# Formats that Pillow alone does not read, and what to do.
_FOREIGN = {"HEIC": "pip install 'nnrun[heic]' to read them", "JPEG XL": "convert them to JPEG or PNG"}


def left_out(others: Sequence[Path | str], num_hidden: int, root: Path | None = None) -> str:
    """Return the note on files without an image suffix and on hidden ones; an empty string where there are none. It
    counts those that are images by their contents: only their names are wrong. Paths are relative to `root`.
    """
    said = []
    if others:
        more = ", ..." if len(others) > _FEW else ""
        names = ", ".join(shown(within(Path(name), root)) for name in others[:_FEW])
        said.append(f"{len(others):,} {_files(len(others))} without an image suffix ({names}{more})")
    if num_hidden:
        said.append(f"{num_hidden:,} hidden {_files(num_hidden)}")
    return f"skipped {' and '.join(said)}{images_among(others)}" if said else ""


def within(path: Path, root: Path | None) -> Path:
    """Return a path relative to a folder, if it is in it; else unchanged."""
    return path.relative_to(root) if root is not None and path.is_relative_to(root) and path != root else path


def images_among(others: Sequence[Path | str]) -> str:
    """Return how many of some files are images by their contents, and what to do to have them read."""
    formats = Counter(name for file in others[:_MOST_OPENED] if (name := _format_of(Path(file))))
    foreign = {name: formats.pop(name) for name in _FOREIGN if name in formats}
    said = [f"{number:,} of them {_are(number)} {name}: {_FOREIGN[name]}" for name, number in foreign.items()]
    if formats:
        names = " and ".join(formats)
        number = formats.total()
        noun = "an image by its contents" if number == 1 else "images by their contents"
        them = "it" if number == 1 else "them"
        said.append(f"{number:,} of them {_are(number)} {noun} ({names}): give {them} the right suffix")
    return "".join(f"; {text}" for text in said)


def _format_of(path: Path) -> str | None:
    """Return the image format of a file by its first bytes; None where it is not a known one."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return None
    return next((name for place, what, name in _BEGINNINGS if start[place : place + len(what)] == what), None)


def _are(count: int) -> str:
    """Return the verb for a number of files."""
    return "is" if count == 1 else "are"


def _files(count: int) -> str:
    """Return the noun for a number of files."""
    return "file" if count == 1 else "files"
