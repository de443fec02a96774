"""Images in the rows of Parquet and Arrow, with the columns beside them: Hugging Face's data sets of images."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.files import state_of
from nnrun.base.paths import shown
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.hub_sets import check_trains, holds_columns, is_saved_set, parts_below, saved_parts
from nnrun.components.data.layout import same_name
from nnrun.components.data.rows_learned import AskedOfRows, LearnedRows, learned_of_rows, target_columns
from nnrun.components.data.table.image_columns import Columns, classes_in, columns_of, frame_without, images_in
from nnrun.components.data.text_files import Rows, rows_of
from nnrun.components.data.unpacked_images import Cells, lacks, unpacked

# The rows that are examined to see whether the images are in a file, or only their paths.
_NUM_LOOKED_AT = 100


@dataclass(frozen=True)
class ImageFile:
    """A file of rows: its columns, and the one with the images.

    `paths` are the image files that its rows name, where these are beside it, not in it; or why a row has none.
    """

    columns: Columns
    image: str
    paths: Sequence[Path | str] | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.columns.path

    @property
    def state(self) -> str:
        """A text that changes whenever its images do."""
        beside = [path if isinstance(path, str) else state_of(path.stat()) for path in self.paths or ()]
        states = [state_of(self.path.stat()), *beside]
        return "\0".join([self.path.name, self.image, *states])


def files_of_rows(root: Path) -> tuple[dict[str, list[Path]], str] | None:
    """Return the files of rows that a path names, by split, and a note on what is left out; None where it has none.

    It is a file of Parquet or Arrow, a saved data set, or a folder with such files below it.
    """
    if root.is_file():
        return ({"all": [root]}, "") if holds_columns(root) else None
    if is_saved_set(root):
        return saved_parts(root)
    found, note = parts_below(root) if root.is_dir() else ({}, "")
    return (found, note) if found else None


def image_file(path: Path, root: Path, wanted: str | None) -> ImageFile:
    """Return a file with its column of images: the `wanted` one, or the only one.

    Raises DataError where there is none. Of files that its rows name, those below the folder `root` are read.
    """
    columns = columns_of(path)
    titles = {same_name(title): title for title in columns.titles}
    if wanted is not None and same_name(wanted) not in titles:
        raise DataError(f"data.image={shown(wanted)} is not a column of {shown(path)}; it has {few(columns.titles, 8)}")
    image = titles[same_name(wanted)] if wanted is not None else None
    if image is None:
        if len(columns.images) != 1:
            has = f"the columns of images {few(columns.images)}; name one with data.image="
            has_none = f"no column of images; its columns are {few(columns.titles, 8)}"
            raise DataError(f"{shown(path)} has {has if columns.images else has_none}")
        image = columns.images[0]
    elif image not in columns.images:
        found = f"; those of {few(columns.images)} are" if columns.images else ""
        raise DataError(f"{shown(path)}: the cells of {shown(image)} are not the content of image files{found}")
    first = list(images_in(columns, image, _NUM_LOOKED_AT))
    if any(content is not None for content, _ in first) or not any(named for _, named in first):
        return ImageFile(columns, image, None)
    paths = []
    for content, name in images_in(columns, image):
        if content is not None:
            return ImageFile(columns, image, None)
        paths.append(_path_of(name, root) if name else lacks(image))
    return ImageFile(columns, image, paths)


def _path_of(name: str, root: Path) -> Path | str:
    """Return the image file that a row names, or that it is not below the folder."""
    below = root.resolve()
    if "\0" not in name:
        found = (below / name).resolve()
        if found.is_relative_to(below) and found.is_file():
            return found
    return (
        f"has only the path {shown(name)}, which is not a file below {shown(root)}; Hugging Face's save_to_disk "
        "writes the images into the data set"
    )


@dataclass(frozen=True)
class ImageRows:
    """The images of a data set in rows, what is learned of them, and what to report.

    `chosen` has the files with the rows of each that are read, split after split.
    """

    chosen: Sequence[tuple[ImageFile, Sequence[int]]]
    rows: LearnedRows
    notes: tuple[str, ...]

    @property
    def state(self) -> str:
        """The key of a cache of the images, without the targets, which may change."""
        return "\n".join(f"{file.state}\0{_runs(numbers)}" for file, numbers in self.chosen)

    def unpacked(self) -> AbstractContextManager[Cells]:
        """Unpack the images for as long as they are read."""
        return unpacked([((file.columns, file.image, file.paths), numbers) for file, numbers in self.chosen])


def image_rows(root: Path, wanted: str | None, asked: AskedOfRows, known: Targets | None) -> ImageRows | None:
    """Return the images of the rows of `data.root`, in the column `wanted`, with their targets; None where it has none.

    `known` is what a trained network has learned. Raises DataError that names the file and the row of what is wrong.
    """
    found = files_of_rows(root)
    if found is None:
        return None
    parts, note = found
    check_trains(parts, str(root), for_test=known is not None)
    below = root.parent if root.is_file() else root
    files = [(part, image_file(path, below, wanted)) for part, of in parts.items() for path in of]
    rows = [(part, _rows_beside(file)) for part, file in files]
    image = files[0][1].image
    titles = target_columns(rows[0][1], [], asked, known, f"the images, {shown(image)}")
    learned = learned_of_rows(rows, titles, asked, known)
    unread = [title for title in rows[0][1].titles if title not in {*titles, *asked.keys.titles.values()}]
    others = f"; not read: {few(unread, 8)}" if unread else ""
    said = f"images from the column {shown(image)}, {learned.learned.targets.kind} from {few(titles)}{others}"
    notes = [*([note] if note else []), said, *learned.notes, *learned.learned.notes]
    return ImageRows(_chosen([file for _, file in files], [of for _, of in rows], learned), learned, tuple(notes))


def _rows_beside(file: ImageFile) -> Rows:
    """Return the rows of a file without its columns of images."""
    frame = frame_without(file.columns, {*file.columns.images, file.image})
    if not frame.height:
        raise DataError(f"{shown(file.path)} has no rows")
    return rows_of(file.path, frame, classes_in(frame))


def _chosen(
    files: Sequence[ImageFile], rows: Sequence[Rows], learned: LearnedRows
) -> list[tuple[ImageFile, Sequence[int]]]:
    """Return the rows of each file that are read, numbered from 0 in it, split after split."""
    starts, start = [], 0
    for of in rows:
        starts.append((start, start + len(of.cells)))
        start += len(of.cells)
    found: list[tuple[ImageFile, Sequence[int]]] = []
    for places in learned.places.values():
        for file, (first, end) in zip(files, starts, strict=True):
            if here := places[bisect_left(places, first) : bisect_left(places, end)]:
                found.append((file, [row - first for row in here]))
    return found


def _runs(numbers: Sequence[int]) -> str:
    """Return ascending numbers as the first and the last of each run."""
    breaks = [place for place in range(1, len(numbers)) if numbers[place] != numbers[place - 1] + 1]
    edges = zip([0, *breaks], [*breaks, len(numbers)], strict=True)
    return ",".join(f"{numbers[start]}-{numbers[end - 1]}" for start, end in edges)
