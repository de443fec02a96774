"""Which image files a folder of class folders has, the class and split of each, and what is wrong with the folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.errors import DataError
from nnrun.base.files import state_of
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.visible import few
from nnrun.components.data.finding import find_images, is_image_name, missing_folder
from nnrun.components.data.label_hints import way_to_labels
from nnrun.components.data.layout import LEFT_BY_PROGRAMS, Inside, alike_inside, class_folders, not_classes, same_name
from nnrun.components.data.left_out import images_among
from nnrun.components.data.order import natural_key

# Names of the folders of each split; the first is nnrun's own.
PART_NAMES = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test", "testing")}


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image file: its path, its name relative to the root or split, its class as a number, and its state.

    For a file that a table lists, `label` is its row.
    """

    path: str
    name: str
    label: int
    state: str


@dataclass(frozen=True)
class Listing:
    """The files of each split of a folder, and what is not read: how many images are in no class, which files are not
    images, how many are hidden, which other folders there are; and notes.

    A folder with class folders alone has one split, `all`.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[LabelledFile]]
    num_unlabelled: int
    others: tuple[Path, ...]
    num_hidden: int
    unread: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The key of a cache of these files: the name, label and state of each."""
        lines = [
            f"{part}/{file.name}\0{file.label}\0{file.state}" for part, files in self.parts.items() for file in files
        ]
        return "\n".join(lines)


def list_folder(root: Path, class_order: str = "natural", known: Sequence[str] | None = None) -> Listing:
    """Return the labeled files below a folder; raise DataError where it has no classes or an empty one, or where the
    classes of its splits differ.

    `known` are the classes of a trained network to evaluate: then the folder may lack some of them, and may lack a
    training split.
    """
    if not root.exists():
        raise missing_folder(root)
    found = {part: _part_folder(root, names) for part, names in PART_NAMES.items()}
    folders = {part: folder for part, folder in found.items() if folder is not None}
    if "train" in folders:
        return _list_parts(root, folders, class_order, known)
    if known is not None and "test" in folders:
        return _list_parts(root, folders, class_order, known)
    if folders and len(_folders(root)) == len(folders):
        raise DataError(f"{shown(root)} has {' and '.join(folders)} but no folder train")
    return _list_parts(root, {"all": root}, class_order, known)


def _list_parts(root: Path, folders: dict[str, Path], class_order: str, known: Sequence[str] | None) -> Listing:
    """Return the files in the class folders of each split."""
    first = next(iter(folders))
    classes = {part: class_folders(_folders(folder)) for part, folder in folders.items()}
    ordered = tuple(classes[first])
    if class_order == "natural":
        # The same names in the same order, whichever Unicode forms the folders have.
        ordered = tuple(sorted(map(same_name, ordered), key=natural_key))
    if not ordered:
        way = f"put the images of each class into a folder named after it{way_to_labels(root, folders[first])}"
        raise DataError(f"{shown(folders[first])} contains no class folders: {way}")
    if known is None or not {same_name(name) for name in known} & {same_name(name) for name in ordered}:
        _refuse_what_is_no_class(folders[first], classes[first])
    if known is not None:
        ordered = tuple(known)
    problems: list[str] = []
    parts: dict[str, list[LabelledFile]] = {}
    others: list[Path] = []
    num_hidden = 0
    loose = list(folders.values()) if first == "all" else [root, *folders.values()]
    for part, folder in folders.items():
        names = {same_name(name): paths for name, paths in classes[part].items()}
        if known is None:
            problems += _differences(folder, folders[first], classes[part], ordered)
        else:
            problems += _unknown(folder, classes[part], known)
        parts[part] = []
        for label, name in enumerate(ordered):
            for class_folder in names.get(same_name(name), ()):
                found = find_images(class_folder)
                others += found.others
                num_hidden += found.num_hidden
                if not found.images:
                    problems.append(f"the class folder {shown(class_folder)} has no images{_what_else(found.others)}")
                parts[part] += [_labelled(path, folder, label) for path in found.images]
    if problems:
        raise DataError(*problems)
    num_unlabelled = sum(len(_images_in(folder)) for folder in loose)
    unread = [] if first == "all" else [path for path in _folders(root) if path not in folders.values()]
    notes = [note for part, folder in folders.items() for note in _notes(folder, classes[part])]
    unsorted = [path for path in unread if _inside(path).is_bare]
    notes += [_note_on_unsorted(path) for path in unsorted]
    left = tuple(path.name for path in unread if path not in unsorted)
    return Listing(ordered, parts, num_unlabelled, tuple(others), num_hidden, left, tuple(notes))


def _note_on_unsorted(folder: Path) -> str:
    """Return the note on a folder beside the splits with images but no class folders, such as Kaggle's `test`."""
    images = counted(len(_images_in(folder)), "image")
    name = shown(folder.name)
    return f"skipped: the folder {name} with {images} in no class folder; predict them with input=DIR ckpt=RUN"


def _refuse_what_is_no_class(folder: Path, classes: Mapping[str, Sequence[Path]]) -> None:
    """Raise DataError where the folders in a folder are not two or more classes, but only look like it."""
    inside = {path: _inside(path) for paths in classes.values() for path in paths}
    reason = not_classes(folder, inside)
    if reason:
        ways = (way_to_labels(folder, path) for path, found in inside.items() if found.is_bare)
        reason += next(filter(None, ways), "")
    if len(classes) == 1:
        (only,), found = classes, next(iter(inside.values()))
        alone = f"{shown(folder)} contains one class folder, {only}; classification needs at least two classes"
        hint = f"; if the folders in it are classes or splits, use data.root={shown(found.at)}" if found.folders else ""
        raise DataError(reason if reason and not found.folders else f"{alone}{hint}")
    if reason:
        raise DataError(reason)


def _inside(folder: Path) -> Inside:
    """Return what a folder contains."""
    at, folders = folder, _folders(folder)
    while len(folders) == 1 and not _images_in(at):
        at, folders = folders[0], _folders(folders[0])
    return Inside(at == folder and not folders and bool(_images_in(folder)), at, folders)


def _notes(folder: Path, classes: Mapping[str, Sequence[Path]]) -> list[str]:
    """Return notes on a split's folders: two Unicode forms of a name, what programs left, folders that look alike."""
    notes = [
        f"{shown(folder.name)} contains {len(paths)} folders named {name}, in two Unicode forms: they are one class"
        for name, paths in classes.items()
        if len(paths) > 1
    ]
    left = [path.name for path in _folders(folder) if path.name in LEFT_BY_PROGRAMS]
    notes += [f"skipped: the folder {name} in {shown(folder.name)}, which a program left" for name in left]
    alike = alike_inside({path: _folders(path) for paths in classes.values() for path in paths})
    return [*notes, alike] if alike else notes


def _differences(folder: Path, first: Path, names: Collection[str], ordered: Sequence[str]) -> list[str]:
    """Return how the classes of a split differ from those of the first."""
    ours, theirs = ({same_name(name) for name in some} for some in (names, ordered))
    more = [name for name in names if same_name(name) not in theirs]
    fewer = [name for name in ordered if same_name(name) not in ours]
    return [f"{shown(folder)} has the class folder {name}, but {shown(first)} does not" for name in more[:3]] + [
        f"{shown(folder)} lacks the class folder {name}, which {shown(first)} has" for name in fewer[:3]
    ]


def _unknown(folder: Path, names: Collection[str], known: Sequence[str]) -> list[str]:
    """Return an error for each class of a split that a trained network does not know."""
    theirs = {same_name(name) for name in known}
    return [
        f"{shown(folder)} has the class folder {name}, which is not a class of the network; its classes are "
        f"{few(known, 8)}"
        for name in names
        if same_name(name) not in theirs
    ][:3]


def _what_else(others: Sequence[Path]) -> str:
    """Return what a folder without images contains."""
    if not others:
        return ""
    files = counted(len(others), "other file")
    return f"; it contains {files}, such as {shown(others[0].name)}{images_among(others)}"


def _labelled(path: Path, folder: Path, label: int) -> LabelledFile:
    """Return a file with the state that tells whether it has changed; a broken link counts as an unreadable file."""
    try:
        status = path.stat() if path.exists() else path.lstat()
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    return LabelledFile(str(path), str(path.relative_to(folder)), label, state_of(status))


def _part_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the folder of a split, by one of its names; a class may be called `train` too, and then contains images.

    Raises DataError where there are two.
    """
    called = [path for path in _folders(root) if path.name.lower() in names]
    found = [path for path in called if _folders(path) or not _images_in(path)]
    if len(found) > 1:
        both = " and ".join(shown(path.name) for path in found)
        raise DataError(f"{shown(root)} has {both}, which mean the same split; keep one of them")
    return found[0] if found else None


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    return sorted(path for path in _entries(folder) if path.is_dir())


def _images_in(folder: Path) -> list[Path]:
    """Return the image files directly in a folder."""
    return [path for path in _entries(folder) if is_image_name(path.name) and path.is_file()]


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, without hidden ones."""
    try:
        return [folder / name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - as text
    except OSError as error:
        raise DataError(f"{shown(folder)} cannot be read: {error.strerror}") from error
