"""Samples that are read one by one, from files or other sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nnrun.components.data.image_form import Form
from nnrun.components.data.images import ImageKind, Picture, decode_sample, read_kind

# Larger files are decoded by threads: Pillow releases Python's lock while it works on pixels.
BYTES_FOR_THREADS = 2**16
# Number of files examined for that.
_NUM_LOOKED_AT = 50


class Readable(Protocol):
    """Samples that can be read one by one; a bad one raises DataError.

    `in_processes` says whether other processes can read them too.
    """

    in_processes: bool

    def __len__(self) -> int: ...

    @property
    def in_threads(self) -> bool:
        """Whether several threads read them faster than one."""
        ...

    def kind(self, index: int) -> ImageKind:
        """Return the kind of a sample's image, as cheaply as possible."""
        ...

    def read(self, index: int, form: Form) -> tuple[Picture, Any]:
        """Return a sample's image in a form, and its label, or None where that is known already."""
        ...


class Files:
    """Image files, whose labels are known already."""

    in_processes = True

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def in_threads(self) -> bool:
        """Whether the files are large, judged by a few of them: with small ones, threads wait for each other."""
        some = [path for path in self._paths[:: max(1, len(self) // _NUM_LOOKED_AT)] if Path(path).is_file()]
        return sum(Path(path).stat().st_size for path in some) > BYTES_FOR_THREADS * len(some)

    def kind(self, index: int) -> ImageKind:
        """Read a file's header."""
        return read_kind(self._paths[index])

    def read(self, index: int, form: Form) -> tuple[Picture, None]:
        """Decode a file."""
        return decode_sample(self._paths[index], form.channels, (form.height, form.width), form.conversion), None
