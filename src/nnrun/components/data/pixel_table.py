"""A table of pixels with a column of labels, `label,pixel0,pixel1,...`, a line per image, like Kaggle's MNIST."""

from __future__ import annotations

import csv
import functools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from nnrun.base.errors import DataError
from nnrun.base.files import check_is_file
from nnrun.base.paths import shown
from nnrun.base.shown import counted

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".csv"
# Titles of the column of labels, in lower case.
_LABELS = ("label", "labels", "class", "target", "y")


@functools.lru_cache(maxsize=2)
def read_pixel_table(path: Path, _state: str) -> dict[str, np.ndarray]:
    """Return the images of a table as `x`, uint8 `(N, H, W)` with H = W, and their labels as `y`, `(N,)`.

    The file is read once, until it changes. Raises DataError that names the line where it is not such a table.
    """
    import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

    label, pixels = _columns(path)
    _check_lines(path, len(pixels) + 1)
    side = math.isqrt(len(pixels))
    read = functools.partial(
        np.loadtxt, path, delimiter=",", skiprows=1, encoding="utf-8", quotechar='"', comments=None, ndmin=1
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about a table without lines, an error below
            images, labels = read(dtype=np.uint8, usecols=pixels, ndmin=2), read(dtype=str, usecols=[label])
    except ValueError as error:
        raise DataError(f"{shown(path)}: {error}; pixels are integers from 0 to 255") from error
    if not len(images):
        raise DataError(f"{shown(path)} has a header line but no images")
    with suppress(ValueError):  # strings are classes too
        labels = labels.astype(np.int64)
    return {"x": images.reshape(-1, side, side), "y": labels}


def _columns(path: Path) -> tuple[int, list[int]]:
    """Return the columns of the label and of the pixels; raise DataError unless these form a square image."""
    with _opened(path) as file:
        titles = [title.strip() for title in next(csv.reader(file), [])]
    named = [number for number, title in enumerate(titles) if title.lower() in _LABELS]
    num_pixels = len(titles) - 1
    if len(named) != 1:
        raise DataError(
            f"{shown(path)} has {'no' if not named else 'more than one'} column {_LABELS[0]}; a table of images has a "
            "header line, a column of labels and a column for each pixel; for images in files, use data=folder "
            "data.labels="
        )
    if num_pixels < 1 or math.isqrt(num_pixels) ** 2 != num_pixels:
        raise DataError(
            f"{shown(path)} has {num_pixels:,} columns besides {titles[named[0]]}, not the pixels of a square image; "
            "save images of another shape as .npz; for rows of other numbers, use your own Dataset class (docs/data.md)"
        )
    return named[0], [number for number in range(len(titles)) if number != named[0]]


def _check_lines(path: Path, num_columns: int) -> None:
    """Raise DataError if a line has more or fewer values than the header line; numpy looks only at those it needs."""
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            found = len(next(csv.reader([line]), [])) if '"' in line else line.count(",") + 1
            if line.strip() and found != num_columns:
                values = counted(found, "value")
                raise DataError(f"{shown(path)}, line {number:,} has {values}, but the header line has {num_columns:,}")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a table; raise DataError where it cannot be read, or is not a table in UTF-8."""
    try:
        check_is_file(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"data.root={shown(path)} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(path)} is not a table in UTF-8: {error}") from error
