"""The texts of a data set with their targets, split by split, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.paths import expanded, shown
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.asked_texts import Asked, TextSamples
from nnrun.components.data.finding import missing_folder
from nnrun.components.data.hub_sets import (
    COLUMN_SUFFIXES,
    check_trains,
    is_saved_set,
    parts_below,
    saved_parts,
    whole_name,
)
from nnrun.components.data.label_lists import PART_TITLE
from nnrun.components.data.listing import PART_NAMES
from nnrun.components.data.named_columns import refuse_lacking
from nnrun.components.data.opened_images import reading
from nnrun.components.data.rows_learned import AskedOfRows, learned_of_rows, target_columns
from nnrun.components.data.text_files import (
    CSV_SUFFIXES,
    JSON_SUFFIXES,
    TEXT_SUFFIX,
    TEXT_TITLES,
    Rows,
    column_of,
    holds_rows,
    read_rows,
)
from nnrun.components.data.text_folders import PARTS, texts_of_folders


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
            return _of_parts(*saved_parts(path), root, asked, known)
        files = sorted(file for file in path.iterdir() if file.is_file() and holds_rows(file))
        if not files and not any(path.glob(f"*/**/*{TEXT_SUFFIX}")):  # as a repository of the hub has its Parquet
            below, note = parts_below(path)
            if below:
                return _of_parts(below, note, root, asked, known)
    if files:
        return _of_rows(_by_split(path, files, known), asked, known)
    if asked.text is not None or asked.target is not None:
        raise DataError(f"data.text and data.target name columns, but {shown(path)} has no file of rows")
    return texts_of_folders(path, asked, known)


def _of_parts(
    parts: Mapping[str, Sequence[Path]], note: str, root: str, asked: Asked, known: Targets | None
) -> TextSamples:
    """Return the texts in the columns of the files of each split, with a note on what is left out."""
    check_trains(parts, root, for_test=known is not None)
    found = _of_rows([(part, read_rows(file)) for part, of in parts.items() for file in of], asked, known)
    return replace(found, notes=(note, *found.notes)) if note else found


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
    named = {"data.text": asked.text, "data.target": asked.target}
    named |= {f"data.{key}": title for key, title in asked.keys.titles.items()}
    refuse_lacking(named, first.titles, shown(first.path), is_evaluation=known is not None)
    title = first.titles[_text_column(first, asked)]
    asked_of = AskedOfRows(asked.target, asked.targets, asked.class_order, asked.keys)
    found = learned_of_rows(files, target_columns(first, [title], asked_of, known, "the text"), asked_of, known)
    texts = [row[column] for _, rows in files for column in [column_of(rows, title, "data.text")] for row in rows.cells]
    return TextSamples(
        {part: [texts[row] for row in rows] for part, rows in found.places.items()},
        found.learned.targets,
        found.learned.values,
        {part: [found.name(row) for row in rows] for part, rows in found.places.items()},
        (*found.notes, *found.learned.notes),
        title,
        dict(found.keys),
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
