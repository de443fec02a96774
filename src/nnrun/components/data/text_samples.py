"""The texts of a data set with their targets, split by split, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.paths import expanded, shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.csv_table import Table
from nnrun.components.data.finding import missing_folder
from nnrun.components.data.images import reading
from nnrun.components.data.label_lists import PART_TITLE
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.layout import LEFT_BY_PROGRAMS, same_name
from nnrun.components.data.listing import PART_NAMES
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.components.data.text_files import TEXT_SUFFIX, TEXT_TITLES, Rows, column_of, holds_rows, read_rows, read_text

_PARTS = {word: part for part, words in PART_NAMES.items() for word in words}
# The usual titles of the column with what is to be learned.
TARGET_TITLES = ("label", "labels", "target", "class", "category", "sentiment", "rating", "score")


@dataclass(frozen=True)
class Asked:
    """The columns and targets that the settings name; None, or `auto`, where they are to be found."""

    text: str | None
    target: str | Sequence[str] | None
    targets: str
    class_order: str
    on_bad: str


@dataclass(frozen=True)
class TextSamples:
    """The texts of each split, their targets and their names; and notes, and the column that the texts come from."""

    texts: dict[str, list[str]]
    targets: Targets
    values: dict[str, Tensor]
    names: dict[str, list[str]]
    notes: tuple[str, ...] = ()
    column: str | None = None


def text_samples(root: str, asked: Asked, known: Targets | None) -> TextSamples:
    """Return the texts below `data.root`: a file of rows, a folder with such files for the splits, or class folders.

    `known` is what a trained network has learned. Raises DataError that names the file and the line of what is wrong.
    """
    path = expanded(root).absolute()
    with reading(path):
        if path.is_file():
            if not holds_rows(path):
                raise DataError(f"data.root={shown(path)} is neither a folder nor a .csv, .tsv or .jsonl file")
            return _of_rows({"": read_rows(path)}, asked, known)
        if not path.is_dir():
            raise missing_folder(path)
        files = sorted(file for file in path.iterdir() if file.is_file() and holds_rows(file))
    if files:
        return _of_rows(_by_split(path, files, known), asked, known)
    if asked.text is not None or asked.target is not None:
        raise DataError(f"data.text and data.target name columns, but {shown(path)} has no .csv, .tsv or .jsonl file")
    return _of_folders(path, asked, known)


def _by_split(root: Path, files: Sequence[Path], known: Targets | None) -> dict[str, Rows]:
    """Return the rows of the files of a folder by split; a single file has all."""
    found: dict[str, Path] = {}
    for file in files:
        part = _PARTS.get(file.name.lower().partition(".")[0])
        if part is not None:
            if part in found:
                raise DataError(f"{shown(found[part])} and {shown(file)} are both the split {part}; name one of them")
            found[part] = file
    if "train" not in found and not (known is not None and "test" in found):
        if len(files) > 1:
            raise DataError(f"{shown(root)} has {few([file.name for file in files])}; name one with data.root=")
        return {"": read_rows(files[0])}
    return {part: read_rows(found[part]) for part in PART_NAMES if part in found}


def _of_rows(files: Mapping[str, Rows], asked: Asked, known: Targets | None) -> TextSamples:
    """Return the texts in the columns of files."""
    first = next(iter(files.values()))
    text = _text_column(first, asked)
    learned = _target_columns(first, text, asked, known)
    titles = [first.titles[column] for column in (text, *learned)]
    cells: list[list[str]] = []
    texts: list[str] = []
    lines: list[int] = []
    paths: list[Path] = []
    split_of: list[str] = []
    for part, rows in files.items():
        columns = [
            column_of(rows, title, "data.text" if place == 0 else "data.target") for place, title in enumerate(titles)
        ]
        parts = _parts_in(rows) if part == "" else [part] * len(rows.cells)
        texts += [row[columns[0]] for row in rows.cells]
        stripped = rows.table().rows
        cells += [[row[column] for column in columns[1:]] for row in stripped]
        lines += rows.lines
        paths += [rows.path] * len(rows.cells)
        split_of += parts
    places = {part: [row for row, of in enumerate(split_of) if of == part] for part in ("all", *PART_NAMES)}
    places = {part: rows for part, rows in places.items() if rows}
    table = Table(first.path, tuple(titles[1:]), cells, lines, False, paths=tuple(paths))
    found = learned_of_columns(Columns(table, range(len(learned)), places), asked.targets, asked.class_order, known)
    return TextSamples(
        {part: [texts[row] for row in rows] for part, rows in places.items()},
        found.targets,
        found.values,
        {part: [f"{paths[row].name}#{lines[row]}" for row in rows] for part, rows in places.items()},
        found.notes,
        titles[0],
    )


def _text_column(rows: Rows, asked: Asked) -> int:
    """Return the column of the texts: as set, or the one with a usual title, or the only one left."""
    if asked.text is not None:
        return column_of(rows, asked.text, "data.text")
    low = [title.lower() for title in rows.titles]
    usual = [low.index(title) for title in TEXT_TITLES if title in low]
    taken = [asked.target] if isinstance(asked.target, str) else list(asked.target or ())
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
    left = [column for column, title in enumerate(low) if column != text and title != PART_TITLE]
    usual = [low.index(title) for title in TARGET_TITLES if title in low and low.index(title) != text]
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
    for row, line in zip(rows.cells, rows.lines, strict=True):
        part = _PARTS.get(row[column].strip().lower())
        if part is None:
            said = shown(row[column]) or "empty"
            raise DataError(f"{shown(rows.path)}, line {line:,}: split is {said}; allowed: train, valid, test")
        found.append(part)
    return found


def _of_folders(root: Path, asked: Asked, known: Targets | None) -> TextSamples:
    """Return the text files of class folders, below folders for the splits or alone."""
    folders = _folders(root)
    by_part = {_PARTS[folder.name.lower()]: folder for folder in folders if folder.name.lower() in _PARTS}
    has_parts = "train" in by_part or (known is not None and "test" in by_part)
    roots = {part: by_part[part] for part in PART_NAMES if part in by_part} if has_parts else {"all": root}
    texts: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    notes: list[str] = []
    for part, folder in roots.items():
        texts[part], labels[part], names[part] = [], [], []
        others: list[str] = [file.name for file in sorted(folder.iterdir()) if file.is_file()]
        for of_class in _folders(folder):
            files = _files(of_class)
            read = [file for file in files if file.suffix.lower() == TEXT_SUFFIX]
            others += [file.name for file in files if file.suffix.lower() != TEXT_SUFFIX]
            if not read:
                raise DataError(f"the class folder {shown(of_class)} has no {TEXT_SUFFIX} file")
            for file in read:
                try:
                    texts[part].append(read_text(file))
                except DataError as error:
                    if asked.on_bad == "error":
                        raise DataError(*error.messages, "skip such files with data.on_bad=skip") from error
                    notes.append(f"skipped: {error}")
                    continue
                labels[part].append(of_class.name)
                names[part].append(shown(file.relative_to(root)))
        if others:
            notes.append(
                f"skipped {counted(len(others), 'file')} in {shown(folder)} without the suffix {TEXT_SUFFIX} "
                f"({few(others, 3)})"
            )
        if not texts[part]:
            raise DataError(
                f"{shown(folder)} has no class folders with {TEXT_SUFFIX} files; for a table, name the file: data.root="
            )
    if asked.targets not in ("auto", "classes"):
        raise DataError(f"data.targets={asked.targets}, but class folders are classes; remove it")
    called = {f"{shown(root)}, {part}": of for part, of in labels.items()}
    first = next(iter(called))
    targets, numbers = (
        classes_of(called, first, order=asked.class_order) if known is None else (known, numbers_among(known, called))
    )
    values = {part: numbers[f"{shown(root)}, {part}"] for part in labels}
    return TextSamples(texts, targets, values, names, tuple(notes))


def _folders(root: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones and those that programs leave behind."""
    with reading(root):
        found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted((path for path in found if path.name not in LEFT_BY_PROGRAMS), key=lambda path: same_name(path.name))


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder, in order, without hidden ones."""
    with reading(folder):
        paths = [path for path in folder.rglob("*") if not path.is_dir()]
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
