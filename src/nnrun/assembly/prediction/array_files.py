"""Many images in one file: `.npy`, MNIST's idx, and Kaggle's CSV table of pixels."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from nnrun.base.errors import DataError, NnrunError
from nnrun.base.foreign_errors import lacks_package, of_the_machine
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.components.data.array_files import Array
from nnrun.components.data.idx import idx_magic, open_idx, read_idx_array

_NPY, _CSV = ".npy", ".csv"


def holds_array(path: Path) -> bool:
    """Return whether a file holds many images, judged by its suffix or, for idx, by its first bytes."""
    if path.suffix in (_NPY, _CSV):
        return path.is_file()
    try:
        with open_idx(path) as file:
            return file.read(4) == idx_magic(3)
    except (OSError, EOFError, zlib.error):
        return False


def read_images(path: Path, in_shape: tuple[int, ...]) -> Tensor:
    """Return the images in a file, uint8 `(N, C, H, W)`; those of a `.npy` are memory-mapped.

    Raises DataError where the file is damaged, or its images do not have the shape that the network takes.
    """
    read = {_NPY: _read_npy, _CSV: _read_table}.get(path.suffix, _read_idx)
    try:
        images = read(path, in_shape)
    except NnrunError:
        raise
    except ModuleNotFoundError as error:
        raise lacks_package(f"reading {path.suffix}", error) from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if of_the_machine(error):
            raise
        raise DataError(f"{shown(path)} cannot be read: {error}") from error
    if tuple(images.shape[1:]) != in_shape:
        raise DataError(f"{shown(path)} holds images {tuple(images.shape[1:])}; the network takes {in_shape}")
    if len(images) == 0:
        raise DataError(f"{shown(path)} holds no image")
    return images


def _read_idx(path: Path, in_shape: tuple[int, ...]) -> Tensor:
    """Return the images of an idx file, which has no channel dimension."""
    del in_shape
    array = read_idx_array(path, num_dims=3)
    return torch.frombuffer(array.values, dtype=torch.uint8).view(array.shape)[:, None]


def _read_npy(path: Path, in_shape: tuple[int, ...]) -> Tensor:
    """Return the images of a uint8 `.npy`: `(N, C, H, W)`, `(N, H, W, C)`, or `(N, H, W)` if gray."""
    array = Array(path).open()
    if array.dtype != "uint8":
        raise DataError(f"{shown(path)} holds {array.dtype}; pixels are uint8, 0 to 255")
    images = torch.from_numpy(array)
    channels, *size = in_shape
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4 and tuple(images.shape[1:]) == (*size, channels) != in_shape:
        return images.permute(0, 3, 1, 2)
    return images


def _read_table(path: Path, in_shape: tuple[int, ...]) -> Tensor:
    """Return the images of a CSV table: a header line, then a line of pixels for each image."""
    num_pixels, values = math.prod(in_shape), bytearray()
    with path.open("rb") as file:
        titles = file.readline().removeprefix(b"\xef\xbb\xbf").strip().split(b",")
        if len(titles) != num_pixels:
            first = titles[0].decode(errors="replace").strip('"')
            raise DataError(
                f"{shown(path)} has {counted(len(titles), 'column')}, the first named {first[:40]!r}; a table of "
                f"images {in_shape} has a header line and {counted(num_pixels, 'column')}, one for each pixel"
            )
        for number, line in enumerate(file, 2):
            if not line.strip():
                continue
            try:
                row = bytes(map(int, line.split(b",")))
            except ValueError as error:
                raise DataError(f"{shown(path)}, line {number}: pixels are whole numbers from 0 to 255") from error
            if len(row) != num_pixels:
                raise DataError(
                    f"{shown(path)}, line {number}: {counted(len(row), 'column')}, but the header has {num_pixels:,}"
                )
            values += row
    images = torch.frombuffer(values, dtype=torch.uint8) if values else torch.empty(0, dtype=torch.uint8)
    return images.view(-1, *in_shape)
