"""The images in a column of Parquet and Arrow, unpacked into one file while they are decoded."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from nnrun.base.ending import at_the_end, forget
from nnrun.base.errors import DataError
from nnrun.base.files import TEMPORARY_SUFFIX
from nnrun.base.meter import Advance, meter
from nnrun.base.paths import shown
from nnrun.components.data.cache import cache_root, writing
from nnrun.components.data.image_form import Form
from nnrun.components.data.images import ImageKind, Picture, decode_sample, read_kind
from nnrun.components.data.opened_images import Cell, Source
from nnrun.components.data.readable import BYTES_FOR_THREADS
from nnrun.components.data.table.image_columns import Columns, images_in

# A column of images: the columns of its file, its title, and the image files that its rows name, if they do; a text
# says why a row has none.
Column = tuple[Columns, str, Sequence[Path | str] | None]
_ROWS_TOLD = 500


@dataclass(frozen=True)
class Cells:
    """Images that are read one by one: `N` encoded images one after another in a file, image n ending at `ends[n]`.

    `beside` are files that are read in place of it, `lacking` says why there is no image, both by index.
    """

    path: Path
    ends: Tensor
    names: Sequence[str]
    beside: Mapping[int, Path]
    lacking: Mapping[int, str]
    in_processes = True

    def __len__(self) -> int:
        return len(self.names)

    @property
    def in_threads(self) -> bool:
        """Whether the images are large: with small ones, threads wait for each other."""
        return bool(self.beside) or (len(self) > 0 and int(self.ends[-1]) > BYTES_FOR_THREADS * len(self))

    def kind(self, index: int) -> ImageKind:
        """Read the header of an image."""
        return read_kind(self.source(index))

    def read(self, index: int, form: Form) -> tuple[Picture, None]:
        """Decode an image."""
        size = (form.height, form.width)
        return decode_sample(self.source(index), form.channels, size, form.conversion), None

    def source(self, index: int) -> Source:
        """Return what an image is read from; raise DataError where there is none."""
        if index in self.lacking:
            raise DataError(f"{self.names[index]} {self.lacking[index]}")
        if index in self.beside:
            return self.beside[index]
        start, end = int(self.ends[index - 1]) if index else 0, int(self.ends[index])
        with self.path.open("rb") as file:
            file.seek(start)
            return Cell(self.names[index], file.read(end - start))


@contextmanager
def unpacked(chosen: Sequence[tuple[Column, Sequence[int]]]) -> Generator[Cells, None, None]:
    """Write the images of some rows of each column, numbered from 0 and ascending, into one file in nnrun's cache;
    yield them in this order. The file is removed at the end.

    So any of them can be read at once: a column can be read only from its start.
    """
    folder = cache_root() / "unpacked"
    path = folder / f".{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
    undoing = at_the_end(path.unlink)
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(folder)
            file = _locked(path)
        with file:
            with writing(folder), meter("unpacking", sum(len(rows) for _, rows in chosen)) as advance:
                cells = _written(chosen, path, file, advance)
                file.flush()
            yield cells
    finally:
        with suppress(OSError):
            path.unlink()
        forget(undoing)


def _locked(path: Path) -> IO[bytes]:
    """Return a new file that is locked; before that, another process may take it for a leftover, and remove it."""
    while True:
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()


def _remove_leftovers(folder: Path) -> None:
    """Remove the files of processes that were killed: nobody locks them any more."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _written(chosen: Sequence[tuple[Column, Sequence[int]]], path: Path, file: IO[bytes], advance: Advance) -> Cells:
    """Write the images of some rows of each column into a file; return them."""
    ends: list[int] = []
    names: list[str] = []
    beside: dict[int, Path] = {}
    lacking: dict[int, str] = {}
    end = 0
    for (columns, image, paths), rows in chosen:
        wanted, called = iter(rows), shown(columns.path)
        next_row = next(wanted, None)
        for row, (content, named) in enumerate(_cells_of(columns, image, paths)):
            if next_row is None:
                break
            if row != next_row:
                continue
            next_row = next(wanted, None)
            path_or_why = None if paths is None else paths[row]
            if isinstance(path_or_why, Path):
                beside[len(names)] = path_or_why
            elif content is None:
                lacking[len(names)] = path_or_why or lacks(image, named)
            else:
                end += file.write(content)
            names.append(f"{called}, row {row + 1:,}")
            ends.append(end)
            if len(names) % _ROWS_TOLD == 0:
                advance(_ROWS_TOLD)
        if next_row is not None:
            raise DataError(f"{called} changed while it was read")
    return Cells(path, torch.tensor(ends, dtype=torch.int64), names, beside, lacking)


def _cells_of(
    columns: Columns, image: str, paths: Sequence[object] | None
) -> Iterable[tuple[bytes | None, str | None]]:
    """Return the cells of a column; where its images are files of their own, nothing is read."""
    return images_in(columns, image) if paths is None else ((None, None) for _ in paths)


def lacks(image: str, named: str | None = None) -> str:
    """Return why a row has no image."""
    if named:
        return f"has only a path in {shown(image)}, {shown(named)}, but other rows have the content of the image"
    return f"has no image: {shown(image)} is empty"
