"""Texts in the .txt files of class folders, below folders for the splits or alone."""

from __future__ import annotations

from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.components.data.asked_texts import Asked, TextSamples
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.layout import LEFT_BY_PROGRAMS, same_name
from nnrun.components.data.listing import PART_NAMES
from nnrun.components.data.opened_images import reading
from nnrun.components.data.split_columns import KeySettings, from_names, is_pattern, split_keys
from nnrun.components.data.text_files import TEXT_SUFFIX, read_text
from nnrun.core.keyed_splits import SplitKeys

PARTS = {word: part for part, words in PART_NAMES.items() for word in words}


def texts_of_folders(root: Path, asked: Asked, known: Targets | None) -> TextSamples:
    """Return the texts of class folders; raise DataError that names the folder or file of what is wrong."""
    folders = _folders(root)
    by_part = {PARTS[folder.name.lower()]: folder for folder in folders if folder.name.lower() in PARTS}
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
    keys = _keys({part: [Path(name) for name in of] for part, of in names.items()}, asked.keys, has_parts=has_parts)
    return TextSamples(texts, targets, values, names, tuple(notes), keys=keys)


def _keys(names: dict[str, list[Path]], settings: KeySettings, *, has_parts: bool) -> dict[str, SplitKeys]:
    """Return the groups and times that patterns find in the names of the files, below the folder of their split."""
    for key, setting in settings.titles.items():
        if not is_pattern(setting):
            raise DataError(
                f"data.{key}={setting} is not a column: the texts are files in class folders; give a pattern of their "
                f"names with one group in parentheses, such as 'author([0-9]+)'"
            )
    below = {part: [Path(*name.parts[has_parts:]).as_posix() for name in of] for part, of in names.items()}

    def at(part: str, index: int) -> str:
        return shown(names[part][index])

    found = {key: from_names(key, setting, below, at) for key, setting in settings.titles.items()}
    return split_keys(settings, found, at)


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
