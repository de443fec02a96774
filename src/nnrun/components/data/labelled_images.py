"""Image files and their targets, by split, before any is decoded: from class folders or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.paths import shown
from nnrun.base.shown import counted
from nnrun.base.targets import Targets
from nnrun.components.data.finding import find_images
from nnrun.components.data.hub_sets import is_saved_set
from nnrun.components.data.image_rows import ImageRows, image_rows
from nnrun.components.data.label_lists import NAME, Labels, Paths, find_labels, read_labels
from nnrun.components.data.labels_file import list_rows, roles_of
from nnrun.components.data.layout import same_name
from nnrun.components.data.left_out import left_out, within
from nnrun.components.data.listing import LabelledFile, Listing, list_folder
from nnrun.components.data.readable import Files, Readable
from nnrun.components.data.rows_learned import AskedOfRows
from nnrun.components.data.split_columns import KeySettings, from_names, is_pattern, split_keys
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.seams.data import Findings


@dataclass(frozen=True)
class LabelledImages:
    """The files of each split with their targets `(N,)` or `(N, K)`, what these are, and what to report.

    `state` is the key of a cache of the images, `keys` are the groups and times of each split.
    """

    parts: Mapping[str, tuple[Sequence[LabelledFile], Tensor]]
    targets: Targets
    state: str
    findings: Findings
    keys: Mapping[str, SplitKeys]
    # Where the images are in rows, not in files of their own.
    rows: ImageRows | None = None

    def opened(self) -> AbstractContextManager[Readable]:
        """Return the images of all splits, split after split, to be read; those in rows are unpacked meanwhile."""
        if self.rows is not None:
            return self.rows.unpacked()
        return nullcontext(Files([file.path for files, _ in self.parts.values() for file in files]))

    @property
    def values(self) -> dict[str, Tensor]:
        """The targets of each split."""
        return {part: values for part, (_, values) in self.parts.items()}


@dataclass(frozen=True)
class LabelSettings:
    """The settings of `data` about the targets of images, and about their groups and times."""

    labels: Labels
    target: str | Sequence[str] | None
    targets: str
    class_order: str
    on_bad: str
    keys: KeySettings = field(default_factory=KeySettings)
    image: str | None = None

    @property
    def ask_for_a_list(self) -> bool:
        """Whether a list is asked for, not class folders."""
        return self.labels is not None or self.target is not None or self.targets in ("labels", "values")


def labelled_images(root: Path, settings: LabelSettings, known: Targets | None) -> LabelledImages:
    """Return the images below a folder, or in rows, with their targets; `known` is what a trained network has learned.

    Raises DataError where there are no labels, or something is wrong with them.
    """
    in_rows = root.is_file() or is_saved_set(root) or settings.image is not None
    if not in_rows or settings.labels is not None:
        try:
            return _of_files(root, settings, known)
        except DataError:
            # Such as a repository of the hub: folders with Parquet, and no images of their own.
            if settings.labels is not None or not root.is_dir() or find_images(root).images:
                raise
            if (found := _of_rows(root, settings, known)) is None:
                raise
            return found
    found = _of_rows(root, settings, known)
    if found is None:
        raise DataError(
            f"data.image={settings.image} names a column, but data.root={shown(root)} has no Parquet or Arrow"
        )
    return found


def _of_files(root: Path, settings: LabelSettings, known: Targets | None) -> LabelledImages:
    """Return the images in class folders, or those that a list names."""
    paths = find_labels(root, settings.labels)
    if paths is None and settings.ask_for_a_list and root.is_dir():
        asked = settings.target is not None
        why = f"data.target={settings.target}" if asked else f"learning {settings.targets}"
        raise DataError(f"{why} needs a file {NAME} in data.root={shown(root)}, or data.labels=FILE")
    listing = _class_folders(root, settings, known, paths)
    if listing is not None:
        return _of_folders(root, listing, settings.keys)
    assert paths is not None, "there are class folders, a list, or an error"
    return _of_lists(root, paths, settings, known)


def _of_rows(root: Path, settings: LabelSettings, known: Targets | None) -> LabelledImages | None:
    """Return the images in rows; None where there are none."""
    asked = AskedOfRows(
        settings.target, settings.targets, settings.class_order, settings.keys, skips=settings.on_bad == "skip"
    )
    found = image_rows(root, settings.image, asked, known)
    if found is None:
        return None
    of = found.rows
    parts = {
        part: ([LabelledFile(of.name(row), of.name(row), row, "") for row in rows], of.learned.values[part])
        for part, rows in of.places.items()
    }
    findings = Findings(found.notes, of.details)
    return LabelledImages(parts, of.learned.targets, found.state, findings, of.keys, found)


def _class_folders(root: Path, settings: LabelSettings, known: Targets | None, paths: Paths | None) -> Listing | None:
    """Return the files of class folders; None where a list has the labels. Raises DataError without either."""
    if paths is not None and (settings.ask_for_a_list or (known is not None and known.kind != "classes")):
        return None
    try:
        listing = list_folder(root, settings.class_order, known.names if known else None)
    except DataError:
        if paths is None:
            raise
        return None
    if paths is None:
        return listing
    name = shown(next(iter(paths.values())).name)
    note = f"{name} is not read: the folders are the classes; use data.labels={name} to read it"
    return replace(listing, notes=(*listing.notes, note))


def _of_folders(root: Path, listing: Listing, settings: KeySettings) -> LabelledImages:
    """Return the images of class folders."""
    for key, setting in settings.titles.items():
        if not is_pattern(setting):
            raise DataError(
                f"data.{key}={setting} is not a column: the classes are folders. Write a regular expression for the "
                f"names of the files with one group in parentheses, such as 'data.{key}={setting}([0-9]+)', or name a "
                "file of labels with this column: data.labels=FILE"
            )
    keys = _keys(listing.parts, {}, settings)
    parts = {
        part: (files, torch.tensor([file.label for file in files], dtype=torch.int64))
        for part, files in listing.parts.items()
    }
    return LabelledImages(parts, Targets.classes(listing.classes), listing.state, _findings(listing, root), keys)


def _keys(
    parts: Mapping[str, Sequence[LabelledFile]], found: Mapping[str, Mapping[str, Sequence[str]]], settings: KeySettings
) -> dict[str, SplitKeys]:
    """Return the keys of the files of each split: `found` in columns, by setting, or else in their names."""
    names = {part: [file.name for file in files] for part, files in parts.items()}

    def at(part: str, index: int) -> str:
        return shown(names[part][index])

    values = {
        key: found[key] if key in found else from_names(key, setting, names, at)
        for key, setting in settings.titles.items()
    }
    return split_keys(settings, values, at)


def _of_lists(root: Path, paths: Paths, settings: LabelSettings, known: Targets | None) -> LabelledImages:
    """Return the images listed in one file, or in one for each split."""
    called = " and ".join(shown(path) for path in paths.values())
    if not root.is_dir():
        raise DataError(f"data.root={shown(root)} is not a folder; name the folder of the paths in {called}")
    table = read_labels(paths, {same_name(title) for title in settings.keys.titles.values()})
    roles = roles_of(table, settings.target, settings.keys, is_evaluation=known is not None)
    listed = list_rows(root, table, roles, skips=settings.on_bad == "skip")
    if known is None and not listed.parts.keys() & {"train", "all"}:
        raise DataError(f"{called} lists no training samples, only {' and '.join(listed.parts)}")
    rows = {of: [file.label for file in files] for of, files in listed.parts.items()}
    columns = Columns(table, roles.learned, rows)
    targets, values, notes = learned_of_columns(columns, settings.targets, settings.class_order, known)
    parts = {of: (files, values[of]) for of, files in listed.parts.items()}
    findings = Findings((*listed.notes, *notes), listed.details, listed.facts)
    cells = {
        key: {of: [table.rows[row][column] for row in of_part] for of, of_part in rows.items()}
        for key, column in roles.keys.items()
    }
    return LabelledImages(parts, targets, listed.state, findings, _keys(listed.parts, cells, settings.keys))


def _findings(listing: Listing, root: Path) -> Findings:
    """Return what to report about the files of class folders."""
    loose = listing.num_unlabelled
    notes = [f"skipped: {counted(loose, 'image file')} in no class folder"] if loose else []
    notes += [
        f"skipped: the folder {shown(name)}, which is not a train, valid or test split" for name in listing.unread
    ]
    if said := left_out(listing.others, listing.num_hidden, root):
        notes.append(said)
    details = [f"skipped: {shown(within(path, root))} has no image suffix" for path in listing.others]
    facts = {"unlabelled": loose, "other_files": len(listing.others), "hidden_files": listing.num_hidden}
    return Findings((*listing.notes, *notes), tuple(details), facts)
