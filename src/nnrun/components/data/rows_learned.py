"""What is learned of the rows of files: the target of each, its split, its group and time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.array_targets import Learned
from nnrun.components.data.csv_table import Table
from nnrun.components.data.label_lists import PART_TITLE
from nnrun.components.data.listing import PART_NAMES
from nnrun.components.data.split_columns import KeySettings, split_keys
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.components.data.text_files import Rows, column_of
from nnrun.components.data.text_folders import PARTS
from nnrun.core.keyed_splits import SplitKeys

# The usual titles of the column with what is to be learned.
TARGET_TITLES = ("label", "labels", "target", "class", "category", "sentiment", "rating", "score")


@dataclass(frozen=True)
class AskedOfRows:
    """What the settings say about the targets, groups and times of rows.

    With `skips`, rows without a target are left out.
    """

    target: str | Sequence[str] | None
    targets: str
    class_order: str
    keys: KeySettings
    skips: bool = False


@dataclass(frozen=True)
class LearnedRows:
    """The rows of each split, counted over all files; their targets and keys; notes and details of what is left out.

    `files` has the file and the number of a row in it.
    """

    places: Mapping[str, Sequence[int]]
    learned: Learned
    keys: Mapping[str, SplitKeys]
    files: Sequence[tuple[Path, int]]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def name(self, row: int) -> str:
        """Return the name of a row: its file and its number or line."""
        path, line = self.files[row]
        return f"{path.name}#{line}"


def learned_of_rows(
    files: Sequence[tuple[str, Rows]], titles: Sequence[str], asked: AskedOfRows, known: Targets | None
) -> LearnedRows:
    """Return what is learned of the columns `titles` of files, each with its split; `all`: its column `split` says it.

    A split other than that of the training whose rows have no target is left out. Raises DataError that names the file
    and the row of what is wrong.
    """
    first = files[0][1]
    cells: list[list[str]] = []
    split_of: list[str] = []
    at: list[tuple[Path, int]] = []
    keys: dict[str, list[str]] = {key: [] for key in asked.keys.titles}
    for part, rows in files:
        columns = [column_of(rows, title, "data.target") for title in titles]
        stripped = rows.table().rows
        cells += [[row[column] for column in columns] for row in stripped]
        for key, title in asked.keys.titles.items():
            column = column_of(rows, title, f"data.{key}")
            keys[key] += [row[column] for row in stripped]
        at += [(rows.path, line) for line in rows.lines]
        split_of += _parts_in(rows) if part == "all" else [part] * len(rows.cells)
    places = {part: [row for row, of in enumerate(split_of) if of == part] for part in ("all", *PART_NAMES)}
    lines, paths = [line for _, line in at], tuple(path for path, _ in at)
    table = Table(first.path, tuple(titles), cells, lines, False, paths=paths, place=first.place)
    are_classes = asked.targets == "auto" and list(titles) == [title for title in first.classes if title in titles]
    kind = "classes" if are_classes and known is None else asked.targets
    needed = kind if known is None else known.kind
    places, notes, details = _with_targets({part: of for part, of in places.items() if of}, table, asked, needed)
    learned = learned_of_columns(Columns(table, range(len(titles)), places), kind, asked.class_order, known)
    values = {key: {part: [of[row] for row in rows] for part, rows in places.items()} for key, of in keys.items()}
    found = split_keys(asked.keys, values, lambda part, index: table.at(places[part][index]))
    return LearnedRows(places, learned, found, at, notes, details)


def target_columns(
    rows: Rows, taken: Collection[str], asked: AskedOfRows, known: Targets | None, beside: str
) -> list[str]:
    """Return the titles of the columns to learn: as set, those that a network has learned, the only one that is not
    `taken`, the one with a usual title, or the only one of classes.
    """
    if asked.target is not None:
        wanted = [asked.target] if isinstance(asked.target, str) else list(asked.target)
        return [rows.titles[column_of(rows, title, "data.target")] for title in wanted]
    if known is not None and set(known.names) <= set(rows.titles):
        return list(known.names)
    kept = {*taken, *(rows.titles[column_of(rows, title, f"data.{key}")] for key, title in asked.keys.titles.items())}
    left = [title for title in rows.titles if title and title not in kept and title.lower() != PART_TITLE]
    usual = [title for name in TARGET_TITLES for title in left if title.lower() == name]
    classes = [title for title in left if title in rows.classes]
    if len(left) == 1 or usual or len(classes) == 1:
        return left if len(left) == 1 else (usual or classes)[:1]
    has = few(left, 8) or "no other column"
    of_images = f"for the images in the column {few(rows.images)}, use data=folder" if rows.images else ""
    way = of_images or "name what to learn with data.target="
    raise DataError(f"{shown(rows.path)} has {has} besides {beside}; {way}")


def _with_targets(
    places: dict[str, list[int]], table: Table, asked: AskedOfRows, kind: str
) -> tuple[dict[str, list[int]], tuple[str, ...], tuple[str, ...]]:
    """Return the rows of each split without those that lack a target, and notes and details on these.

    Of `labels`, a sample may have none.
    """
    lacking = {part: [row for row in rows if not any(table.rows[row])] for part, rows in places.items()}
    notes: list[str] = []
    if kind == "labels" or (kind == "auto" and (lacking.get("train") or lacking.get("all"))):
        return places, (), ()
    kept = {}
    for part, rows in places.items():
        kept[part] = rows
        if len(lacking[part]) == len(rows) and part in ("valid", "test"):
            del kept[part]
            what = f"none of its {counted(len(rows), 'row')} has a value of {few(table.titles)}"
            notes.append(f"left out the split {part}: {what}; predict them with input=FILE ckpt=RUN")
    missing = [row for part in kept for row in lacking[part]]
    if not missing or not asked.skips or kind == "auto":
        return kept, tuple(notes), ()
    rows_left = {part: [row for row in rows if any(table.rows[row])] for part, rows in kept.items()}
    notes.append(f"skipped: {counted(len(missing), 'row')} without a target (data.on_bad=skip); run.log names them")
    details = tuple(f"skipped: {table.at(row)} has no target" for row in missing)
    return {part: rows for part, rows in rows_left.items() if rows}, tuple(notes), details


def _parts_in(rows: Rows) -> list[str]:
    """Return the split of each row of a file that has all: by its column `split`, or else `all`."""
    low = [title.lower() for title in rows.titles]
    if PART_TITLE not in low:
        return ["all"] * len(rows.cells)
    column = low.index(PART_TITLE)
    found = []
    for place, row in enumerate(rows.cells):
        part = PARTS.get(row[column].strip().lower())
        if part is None:
            said = shown(row[column]) or "empty"
            raise DataError(f"{rows.at(place)}: split is {said}; allowed: train, valid, test")
        found.append(part)
    return found
