"""The texts of a data set with their targets, split by split, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.paths import expanded, shown
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.asked_texts import Asked, TextSamples
from nnrun.components.data.csv_table import Table
from nnrun.components.data.finding import missing_folder
from nnrun.components.data.hub_sets import is_saved_set, saved_parts, whole_name
from nnrun.components.data.label_lists import PART_TITLE
from nnrun.components.data.listing import PART_NAMES
from nnrun.components.data.opened_images import reading
from nnrun.components.data.split_columns import split_keys
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.components.data.text_files import (
    COLUMN_SUFFIXES,
    CSV_SUFFIXES,
    JSON_SUFFIXES,
    TEXT_TITLES,
    Rows,
    column_of,
    holds_rows,
    read_rows,
)
from nnrun.components.data.text_folders import PARTS, texts_of_folders

# The usual titles of the column with what is to be learned.
TARGET_TITLES = ("label", "labels", "target", "class", "category", "sentiment", "rating", "score")


def text_samples(root: str, asked: Asked, known: Targets | None) -> TextSamples:
    """Return the texts below `data.root`: a file of rows, a folder with such files for the splits, a saved data set of
    Hugging Face, or class folders.

    `known` is what a trained network has learned. Raises DataError that names the file and the line of what is wrong.
    """
    path = expanded(root).absolute()
    with reading(path):
        if path.is_file():
            if not holds_rows(path):
                allowed = ", ".join((*CSV_SUFFIXES, *JSON_SUFFIXES, *COLUMN_SUFFIXES))
                raise DataError(f"data.root={shown(path)} is neither a folder nor a file of rows ({allowed})")
            return _of_rows([("all", read_rows(path))], asked, known)
        if not path.is_dir():
            raise missing_folder(path, "the file or the folder of the texts")
        if is_saved_set(path):
            saved, note = saved_parts(path)
            if "train" not in saved and "all" not in saved and not (known is not None and "test" in saved):
                raise DataError(f"data.root={shown(root)} has no split train; it has {few(list(saved))}")
            found = _of_rows([(part, read_rows(file)) for part, of in saved.items() for file in of], asked, known)
            return replace(found, notes=(note, *found.notes)) if note else found
        files = sorted(file for file in path.iterdir() if file.is_file() and holds_rows(file))
        if not files and (path / "data").is_dir():  # as a repository of the hub has its Parquet
            files = sorted(file for file in (path / "data").iterdir() if file.is_file() and holds_rows(file))
    if files:
        return _of_rows(_by_split(path, files, known), asked, known)
    if asked.text is not None or asked.target is not None:
        raise DataError(f"data.text and data.target name columns, but {shown(path)} has no file of rows")
    return texts_of_folders(path, asked, known)


def _by_split(root: Path, files: Sequence[Path], known: Targets | None) -> list[tuple[str, Rows]]:
    """Return the rows of the files of a folder, each with its split; a single file has all of them."""
    found: dict[str, list[Path]] = {}
    for file in files:
        part = PARTS.get(whole_name(file).lower().partition(".")[0])
        if part is not None:
            if part in found and whole_name(found[part][0]) != whole_name(file):
                raise DataError(
                    f"{shown(found[part][0])} and {shown(file)} are both the split {part}; name one of them"
                )
            found.setdefault(part, []).append(file)
    if "train" not in found and not (known is not None and "test" in found):
        if len({whole_name(file) for file in files}) > 1:
            raise DataError(f"{shown(root)} has {few([file.name for file in files])}; name one with data.root=")
        return [("all", read_rows(file)) for file in files]
    return [(part, read_rows(file)) for part in PART_NAMES for file in found.get(part, ())]


def _of_rows(files: Sequence[tuple[str, Rows]], asked: Asked, known: Targets | None) -> TextSamples:
    """Return the texts in the columns of files."""
    first = files[0][1]
    text = _text_column(first, asked)
    learned = _target_columns(first, text, asked, known)
    titles = [first.titles[column] for column in (text, *learned)]
    cells: list[list[str]] = []
    texts: list[str] = []
    lines: list[int] = []
    paths: list[Path] = []
    split_of: list[str] = []
    keys: dict[str, list[str]] = {key: [] for key in asked.keys.titles}
    for part, rows in files:
        columns = [
            column_of(rows, title, "data.text" if place == 0 else "data.target") for place, title in enumerate(titles)
        ]
        texts += [row[columns[0]] for row in rows.cells]
        stripped = rows.table().rows
        cells += [[row[column] for column in columns[1:]] for row in stripped]
        for key, title in asked.keys.titles.items():
            column = column_of(rows, title, f"data.{key}")
            keys[key] += [row[column] for row in stripped]
        lines += rows.lines
        paths += [rows.path] * len(rows.cells)
        split_of += _parts_in(rows) if part == "all" else [part] * len(rows.cells)
    places = {part: [row for row, of in enumerate(split_of) if of == part] for part in ("all", *PART_NAMES)}
    places = {part: rows for part, rows in places.items() if rows}
    table = Table(first.path, tuple(titles[1:]), cells, lines, False, paths=tuple(paths), place=first.place)
    are_classes = asked.targets == "auto" and titles[1:] == [title for title in first.classes if title in titles[1:]]
    kind = "classes" if are_classes and known is None else asked.targets
    found = learned_of_columns(Columns(table, range(len(learned)), places), kind, asked.class_order, known)
    values = {key: {part: [of[row] for row in rows] for part, rows in places.items()} for key, of in keys.items()}
    return TextSamples(
        {part: [texts[row] for row in rows] for part, rows in places.items()},
        found.targets,
        found.values,
        {part: [f"{paths[row].name}#{lines[row]}" for row in rows] for part, rows in places.items()},
        found.notes,
        titles[0],
        split_keys(asked.keys, values, lambda part, index: table.at(places[part][index])),
    )


def _text_column(rows: Rows, asked: Asked) -> int:
    """Return the column of the texts: as set, or the one with a usual title, or the only one left."""
    if asked.text is not None:
        return column_of(rows, asked.text, "data.text")
    low = [title.lower() for title in rows.titles]
    usual = [low.index(title) for title in TEXT_TITLES if title in low]
    taken = [asked.target] if isinstance(asked.target, str) else list(asked.target or ())
    taken += asked.keys.titles.values()
    left = [column for column, title in enumerate(rows.titles) if title not in taken and low[column] != PART_TITLE]
    if usual or len(left) == 1:
        return (usual or left)[0]
    raise DataError(
        f"{shown(rows.path)} has the columns {few(rows.titles, 8)}; name the one of the texts with data.text="
    )


def _target_columns(rows: Rows, text: int, asked: Asked, known: Targets | None) -> list[int]:
    """Return the columns to learn: as set, those that a network has learned, or the one with a usual title."""
    if asked.target is not None:
        wanted = [asked.target] if isinstance(asked.target, str) else list(asked.target)
        return [column_of(rows, title, "data.target") for title in wanted]
    if known is not None and set(known.names) <= set(rows.titles):
        return [rows.titles.index(name) for name in known.names]
    low = [title.lower() for title in rows.titles]
    taken = {text, *(column_of(rows, title, f"data.{key}") for key, title in asked.keys.titles.items())}
    left = [column for column, title in enumerate(low) if column not in taken and title != PART_TITLE]
    usual = [low.index(title) for title in TARGET_TITLES if title in low and low.index(title) not in taken]
    if len(left) == 1 or usual:
        return left if len(left) == 1 else usual[:1]
    has = few([rows.titles[column] for column in left], 8) or "no other column"
    raise DataError(f"{shown(rows.path)} has {has} besides the text; name what to learn with data.target=")


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
