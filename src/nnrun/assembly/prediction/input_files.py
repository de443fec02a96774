"""Find the images that a path or `input=` names, and sort them, before any of them is read."""

from __future__ import annotations

import errno
import glob
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.paths import expanded, shown
from nnrun.checkpoints.locate import nearest
from nnrun.components.data.finding import find_images, is_image_name
from nnrun.components.data.left_out import left_out
from nnrun.components.data.order import path_key

FROM_STDIN = "-"


@dataclass(frozen=True)
class InputFiles:
    """The files that `input=` stands for, in the order of their predictions, and notes on skipped files."""

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_inputs(given: str) -> InputFiles:
    """Return the files that `input=` names; `-` reads a list of paths from standard input and keeps its order."""
    if given == FROM_STDIN:
        return InputFiles(_listed())
    return find_files(given, "input=", "; input=- takes a list of paths from standard input")


def find_files(given: str, key: str = "", way_out: str = "") -> InputFiles:
    """Return the files that a path names: one file, all in a folder and below, or the matches of a pattern.

    They are in natural order, `2.png` before `10.png`, folder by folder. A name that exists is taken literally,
    whatever characters it contains. Raises DataError, which names the setting `key`, if there is no image.
    """
    path = expanded(given)
    try:
        is_folder = path.is_dir()
        check_is_file(path)
    except OSError as error:
        if error.errno == errno.EINVAL and error.filename:
            raise DataError(f"{key}{shown(given)} cannot be read: {error.strerror}{way_out}") from error
        matches = [Path(match) for match in glob.iglob(_pattern(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute one
        if not matches:
            hint = ""
            with suppress(OSError):  # the name may be too long for the file system
                hint = f"; {shown(nearest(path))}"
            reason = f"{error.strerror}, and as a pattern it matches nothing{hint}"
            raise DataError(f"{key}{shown(given)}: {reason}") from error
        return _images_among(f"{key}{shown(given)}", matches)
    return _images_among(f"{key}{shown(given)}", [path]) if is_folder else InputFiles((str(path),))


def _listed() -> tuple[str, ...]:
    """Return the paths that standard input lists, one a line, or terminated by NUL as `find -print0` writes them."""
    content = sys.stdin.buffer.read() if sys.stdin is not None else b""
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    files = tuple(os.fsdecode(part) for part in parts if part)
    if not files:
        raise DataError("input=-: standard input lists no files; write one path a line")
    return files


def _pattern(path: Path) -> str:
    """Return a path as a glob pattern. Leading folders that exist, such as `scans [1]`, are taken literally."""
    parts = path.parts
    known = 0
    while known < len(parts) and os.path.lexists(Path(*parts[: known + 1])):
        known += 1
    literal = glob.escape(str(Path(*parts[:known]))) if known else ""
    return os.path.join(literal, *parts[known:])  # noqa: PTH118 - a pattern is not a path


def _images_among(named: str, found: Sequence[Path]) -> InputFiles:
    """Return the images among files and in folders, by their suffixes; raise DataError if there are none."""
    images: set[str] = set()
    others: set[str] = set()
    num_hidden = 0
    for path in found:
        if path.is_dir():
            below = find_images(path)
            images.update(map(str, below.images))
            others.update(map(str, below.others))
            num_hidden += below.num_hidden
        else:
            (images if is_image_name(path.name) else others).add(str(path))
    root = found[0] if len(found) == 1 else None
    left = left_out(sorted(others), num_hidden, root)
    if not images:
        raise DataError(f"{named} holds no image" + (f": {left}" if left else "; it is empty"))
    return InputFiles(tuple(sorted(images, key=path_key)), (left,) if left else ())
