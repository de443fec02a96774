"""Whether folders are classes or only look like it: splits, images beside labels, what programs leave behind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnrun.base.paths import shown

# Folders that programs leave behind; never classes.
LEFT_BY_PROGRAMS = frozenset(
    ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
)
# Words that name a split, also as one of several words: `train_images`, `seg_test`, `training_set`.
_PART_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "unlabeled", "unlabelled", "eval", "evaluation"), "predict"),
}
# What may follow such a word directly: `trainset`.
_GENERIC = ("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "pics", "files", "folder")
_IMAGES = frozenset(("images", "image", "imgs", "img", "jpegimages", "jpgimages", "pngimages", "pictures", "photos"))
_LABELS = frozenset(
    (
        *("labels", "label", "annotations", "annotation", "ann", "anns", "masks", "mask", "imagesets", "metadata"),
        *("segmentation", "segmentations", "segmentationclass", "segmentationobject", "groundtruth", "gt"),
    )
)


def class_folders(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Group folders by class, in order, without folders that programs leave.

    A name with accents has two Unicode forms: macOS writes one, other systems the other. Both are one class.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        if folder.name not in LEFT_BY_PROGRAMS:
            found.setdefault(same_name(shown(folder.name)), []).append(folder)
    return {shown(paths[0].name) if len(paths) == 1 else name: paths for name, paths in found.items()}


def same_name(name: str) -> str:
    """Return a name in its composed Unicode form (NFC), the same for all forms of the name."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Inside:
    """What a folder contains: only images (`is_bare`), or the first subfolders that are not alone, in `at`."""

    is_bare: bool
    at: Path
    folders: Sequence[Path]


def not_classes(folder: Path, inside: Mapping[Path, Inside]) -> str:
    """Return why the folders in a folder are not classes, by their contents; an empty string where they may be."""
    paths = list(inside)
    parts = _parts_among(paths)
    alone = paths if len(paths) == 1 and part_and_rest(paths[0].name)[0] else []
    bare = next((path for path in parts or alone if inside[path].is_bare), None)
    if bare is not None:
        return (
            f"{shown(bare)} contains images but no class folders; it is a split, not a class: put the images of each "
            f"class into a folder named after it, such as {shown(bare / 'cat')}"
        )
    if parts:
        names = " and ".join(shown(path.name) for path in parts)
        return (
            f"{shown(folder)} contains {names}, which are splits, not classes; name them train, valid and test, with "
            "the class folders inside"
        )
    words = {"".join(_words(path.name)): path for path in paths}
    images, labels = (next((words[word] for word in words if word in known), None) for known in (_IMAGES, _LABELS))
    if images is not None and labels is not None:
        return (
            f"{shown(folder)} contains {shown(images.name)} and {shown(labels.name)}, which are not classes; put the "
            "images of each class into a folder named after it"
        )
    return next((reason for path in paths if (reason := _whole_set(path, inside))), "")


def _whole_set(path: Path, inside: Mapping[Path, Inside]) -> str:
    """Return why a folder is not a class but contains splits, or the classes beside it again; else an empty string."""
    found = inside[path]
    if parts := _parts_among(found.folders):
        names = " and ".join(shown(part.name) for part in parts)
        if sum(bool(_parts_among(other.folders)) for other in inside.values()) > 1:
            example = shown(path.parent / parts[0].name / path.name)
            return (
                f"{shown(path)} contains {names}, which are splits; put the classes into the splits, such as {example}"
            )
        return f"{shown(path)} contains {names}: it is a data set, not a class; use data.root={shown(found.at)}"
    again = {same_name(below.name) for below in found.folders} & {same_name(other.name) for other in inside}
    if len(again) > 1:
        names = " and ".join(shown(name) for name in sorted(again)[:2])
        return f"{shown(path)} contains {names}, as {shown(path.parent)} does: it is not a class; move it away"
    return ""


def alike_inside(folders: Mapping[Path, Sequence[Path]]) -> str:
    """Return a note on class folders that all contain folders with the same names; an empty string where they do not.

    These may be splits, people or days; only the user knows.
    """
    names = [{path.name for path in below} for below in folders.values()]
    if len(names) < 2 or len(names[0]) < 2 or any(other != names[0] for other in names):
        return ""
    few = ", ".join(sorted(map(shown, names[0]))[:4])
    example = shown(next(iter(folders)).name)
    return (
        f"every class folder contains the folders {few}: all images below {example}, for example, are class {example}"
    )


def _parts_among(folders: Sequence[Path]) -> list[Path]:
    """Return the folders that are splits of one data set by their names, one for each split; else an empty list."""
    found: dict[str, dict[str, Path]] = {}
    for path in folders:
        part, rest = part_and_rest(path.name)
        if part:
            found.setdefault(rest, {}).setdefault(part, path)
    several = next((parts for parts in found.values() if len(parts) > 1), {})
    return [several[part] for part in dict.fromkeys(_PART_WORDS.values()) if part in several]


def part_and_rest(name: str) -> tuple[str, str]:
    """Return the split that a folder's name says, and the rest of the name; two empty strings where it says none.

    `train` and `test_1` have the same rest, and so do `trainA` and `testA`; `bullet_train` and `test_tube` do not.
    """
    words = _words(name)
    for place, word in enumerate(words):
        if word in _PART_WORDS:
            return _PART_WORDS[word], "".join([*words[:place], *words[place + 1 :]])
    for known, part in _PART_WORDS.items() if len(words) == 1 else ():
        if words[0].startswith(known) and words[0].removeprefix(known) in _GENERIC:
            return part, words[0].removeprefix(known)
    return "", ""


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case: the same for `trainA`, `TRAIN-a` and `train_a 2`."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
