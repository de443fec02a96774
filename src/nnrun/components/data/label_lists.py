"""The files with the labels of images: one for all, or one for each split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nnrun.base.errors import DataError
from nnrun.base.paths import expanded, shown
from nnrun.components.data.csv_table import Table, read_table
from nnrun.components.data.finding import missing_folder

# The file that is looked for, and the title of the column with the split of a sample.
NAME = "labels.csv"
PART_TITLE = "split"
# The title of the classes where a list has only paths: their folders are the classes.
FOLDER_TITLE = "folder"

Labels = str | Mapping[str, str] | None
# The files by split; for a single file the split is an empty string.
Paths = dict[str, Path]


def find_labels(root: Path, labels: Labels) -> Paths | None:
    """Return the named files, by split, or labels.csv in the folder of the images, if there is one.

    Raises DataError where a named file is missing.
    """
    if labels is None:
        found = [path for path in root.iterdir() if path.name.lower() == NAME] if root.is_dir() else []
        return {"": found[0]} if found else None
    named = {"": labels} if isinstance(labels, str) else labels
    return {part: _named(root, part, name) for part, name in named.items()}


def _named(root: Path, part: str, name: str) -> Path:
    """Return a named file, relative to the working directory or to the folder of the images."""
    for path in (expanded(name).absolute(), root / name):
        if path.exists():
            return path
    if not root.exists():
        raise missing_folder(root)
    key = f"data.labels.{part}" if part else "data.labels"
    raise DataError(f"{key}={shown(name)} does not exist, neither here nor in {shown(root)}")


def read_labels(paths: Paths, others: Collection[str] = ()) -> Table:
    """Return the table of all files, with a column for the split where there is a file for each.

    `others` are the titles of columns that are no targets.
    """
    tables = {part: _with_folders(read_table(path), others) for part, path in paths.items()}
    first = next(iter(tables.values()))
    if "" in tables:
        return first
    titles = [title for title in first.titles if title]
    rows: list[list[str]] = []
    for part, table in tables.items():
        if PART_TITLE in map(str.lower, table.titles):
            raise DataError(f"{shown(table.path)} has a column {PART_TITLE}, but data.labels gives its split, {part}")
        rows += [[*cells, part] for cells in _columns(table, first, titles)]
    return replace(
        first,
        titles=(*titles, PART_TITLE),
        rows=rows,
        lines=[line for table in tables.values() for line in table.lines],
        has_titles=all(table.has_titles for table in tables.values()),
        paths=tuple(table.path for table in tables.values() for _ in table.rows),
    )


def _columns(table: Table, first: Table, titles: list[str]) -> list[list[str]]:
    """Return the cells of the columns with these titles; raise DataError where a table lacks one."""
    lacks = next((title for title in titles if title not in table.titles), None)
    if lacks is not None:
        raise DataError(
            f"{shown(table.path)} has no column {shown(lacks)}, which {shown(first.path)} has; if its images have no "
            "labels, remove it from data.labels and predict them with input=DIR ckpt=RUN"
        )
    places = [table.titles.index(title) for title in titles]
    return [[cells[place] for place in places] for cells in table.rows]


def _with_folders(table: Table, others: Collection[str]) -> Table:
    """Return a table with targets: where it has only paths, the folder of each is its class."""
    places = [place for place, title in enumerate(table.titles) if title and title not in others]
    if len(places) != 1:
        return table
    place = places[0]
    folders = [PurePosixPath(cells[place].replace("\\", "/")).parent.name for cells in table.rows]
    if not all(folders):
        return table
    rows = [[*cells, folder] for cells, folder in zip(table.rows, folders, strict=True)]
    return replace(table, titles=(*table.titles, FOLDER_TITLE), rows=rows)
