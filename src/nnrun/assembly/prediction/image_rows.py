"""Images to predict for in the rows of Parquet and Arrow, such as a data set of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nnrun.assembly.prediction.raw_images import Intake, Samples, of_files
from nnrun.base.errors import DataError
from nnrun.base.paths import expanded, shown
from nnrun.base.visible import few
from nnrun.components.data.conversion import Conversion
from nnrun.components.data.finding import find_images
from nnrun.components.data.hub_sets import is_saved_set
from nnrun.components.data.image_rows import ImageFile, files_of_rows, image_file
from nnrun.components.data.images import ImageKind, decode
from nnrun.components.data.table.image_columns import num_rows
from nnrun.components.data.tally import Tally
from nnrun.components.data.unpacked_images import Cells, unpacked


@dataclass(frozen=True)
class RowsOfImages:
    """The files whose rows have images, and the number of rows of each."""

    files: Sequence[ImageFile]
    counts: Sequence[int]

    def batches(
        self, intake: Intake, refuse: Callable[[DataError], None], tally: Tally, *, in_processes: bool = False
    ) -> Generator[Samples, None, None]:
        """Yield the images in batches, as `of_files` does; their names are the numbers of the rows, from 1."""
        chosen = [
            ((file.columns, file.image, file.paths), range(number))
            for file, number in zip(self.files, self.counts, strict=True)
        ]
        with unpacked(chosen) as cells:
            names = list(map(str, range(1, len(cells) + 1)))
            yield from of_files(names, intake._replace(read=_ReadCell(cells)), refuse, tally, in_processes=in_processes)


@dataclass(frozen=True)
class _ReadCell:
    """Decode an image, given the number of its row."""

    cells: Cells

    def __call__(
        self, name: str, channels: int, size: tuple[int, int], conversion: Conversion
    ) -> tuple[ImageKind, Tensor]:
        return decode(self.cells.source(int(name) - 1), channels, size, conversion)


def rows_of_images(given: str, wanted: str | None = None) -> RowsOfImages | None:
    """Return the images in the rows of a file, a saved data set or a folder with such files, in the column `wanted` or
    the only one of images; None for anything else, such as a folder that holds image files.

    Raises DataError where there is no such column, or where there are several splits or other files beside one.
    """
    path = expanded(given)
    try:
        path.stat()
    except (OSError, ValueError):  # a pattern, or a name that is too long for the file system
        return None
    may_hold_images = path.is_dir() and not is_saved_set(path)
    try:
        found = files_of_rows(path)
    except DataError:
        if may_hold_images and find_images(path).images:
            return None
        raise
    if found is None or (may_hold_images and find_images(path).images):
        return None
    parts, left_out = found
    if len(parts) > 1 or left_out:
        first: Path = next(iter(parts.values()))[0]
        one = first.parent if is_saved_set(first.parent) else first
        has = f"the splits {few(list(parts))}" if len(parts) > 1 else f"more than the split {next(iter(parts))}"
        raise DataError(f"input={shown(given)} has {has}; name one: input={shown(one)}")
    root = path.parent if path.is_file() else path
    files = [image_file(file, root, wanted) for file in next(iter(parts.values()))]
    return RowsOfImages(files, [num_rows(file.columns) for file in files])
