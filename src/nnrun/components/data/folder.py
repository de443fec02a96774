"""Images in class folders, or listed in a CSV file: the user's own data set, decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.cache import Cache, Entry
from nnrun.components.data.csv_table import read_table
from nnrun.components.data.data_root import data_root
from nnrun.components.data.dataset_from_parts import Choices, Part, dataset_of, entry_part
from nnrun.components.data.decoding import Files, decoded
from nnrun.components.data.found import became, found_in_images
from nnrun.components.data.image_form import AUTO, Wanted
from nnrun.components.data.images import shown
from nnrun.components.data.labels_file import NAME, find_labels, list_rows, roles_of
from nnrun.components.data.left_out import left_out
from nnrun.components.data.listing import LabelledFile, Listing, list_folder
from nnrun.components.data.table_targets import Columns, learned_of_columns
from nnrun.core.seams.data import Dataset, Evaluation, Findings

_Listed = Mapping[str, tuple[Sequence[LabelledFile], Tensor]]


@dataclass(frozen=True)
class Folder:
    """Open a folder of images: class folders below `train/`, `valid/` and `test/`, or class folders alone.

    Or images that a CSV file lists, `labels`, or `labels.csv` in the folder where there are no class folders: `target`
    are its columns that are learned, and `targets` says whether they are classes, labels or values.
    Without `test/`, `test_fraction` of the samples is held out for it by `split_seed`, each class with its share.
    `image_size`, `channels` and `mean` and `std`, of pixels in 0..1, follow from the images where they are None;
    `in_shape` is what a trained network takes, and then decides instead.
    """

    root: str
    image_size: int | Sequence[int] | str | None
    channels: int | None
    on_bad: str
    test_fraction: float | None
    split_seed: int
    split_by: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    in_shape: Sequence[int] | None
    class_order: str = "natural"
    white: float | str | None = AUTO
    resize: str = "crop"
    jpeg_draft: bool = False
    targets: str = "auto"
    labels: str | None = None
    target: str | Sequence[str] | None = None

    def load(self) -> Dataset:
        """Decode the images, or take those that were decoded before; raise DataError where something is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to measure a trained network: with its classes, and no more parts than there are."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        root, known = data_root(self.root), evaluation.targets if evaluation else None
        table = find_labels(root, self.labels)
        listing = self._class_folders(root, known, table)
        if listing is None:
            assert table is not None
            return self._of_table(root, table, evaluation)
        parts = {
            part: (files, torch.tensor([file.label for file in files], dtype=torch.int64))
            for part, files in listing.parts.items()
        }
        entry = self._decoded(root, listing.parts, listing.state)
        return self._dataset(entry, parts, Targets.classes(listing.classes), evaluation, _findings(listing, entry))

    def _class_folders(self, root: Path, known: Targets | None, table: Path | None) -> Listing | None:
        """Return the files of class folders; None where the table says what is learned.

        Raises DataError where there is neither.
        """
        asked = [name for name in ("labels", "target") if getattr(self, name) is not None]
        asked += ["targets"] if self.targets in ("labels", "values") else []
        if table is None and asked and root.is_dir():
            why = f"data.target={self.target}" if self.target is not None else f"learning {self.targets}"
            raise DataError(f"{why} needs a file {NAME} in data.root={shown(root)}, or data.labels=FILE")
        if table is not None and (asked or (known is not None and known.kind != "classes")):
            return None
        try:
            listing = list_folder(root, self.class_order, known.names if known else None)
        except DataError:
            if table is None:
                raise
            return None
        if table is None:
            return listing
        note = f"{shown(table.name)} is not read: folders say the classes; data.labels={shown(table.name)} reads it"
        return replace(listing, notes=(*listing.notes, note))

    def _of_table(self, root: Path, path: Path, evaluation: Evaluation | None) -> Dataset:
        """Return the data set of the images that a CSV file lists."""
        if not root.is_dir():
            raise DataError(
                f"data.root={shown(root)} is no folder; name the one that the paths of {shown(path)} begin in"
            )
        table = read_table(path)
        roles = roles_of(table, self.target)
        listed = list_rows(root, table, roles, skips=self.on_bad == "skip")
        if evaluation is None and not listed.parts.keys() & {"train", "all"}:
            raise DataError(f"{shown(path)} lists no sample to train on, only {' and '.join(listed.parts)}")
        rows = {of: [file.label for file in files] for of, files in listed.parts.items()}
        columns, known = Columns(table, roles.learned, rows), evaluation.targets if evaluation else None
        targets, values, notes = learned_of_columns(columns, self.targets, self.class_order, known)
        entry = self._decoded(root, listed.parts, listed.state)
        found = found_in_images(entry.found, entry.samples.shape[1:])
        findings = Findings(
            (*found.notes, *listed.notes, *notes), (*found.details, *listed.details), {**found.facts, **listed.facts}
        )
        parts = {of: (files, values[of]) for of, files in listed.parts.items()}
        return self._dataset(entry, parts, targets, evaluation, findings)

    def _decoded(self, root: Path, parts: Mapping[str, Sequence[LabelledFile]], state: str) -> Entry:
        """Return the images of all parts, one after the other, decoded."""
        wanted = Wanted(self.image_size, self.channels, self.on_bad, self.white, self.resize, self.jpeg_draft)
        wanted = wanted.for_network(self.in_shape)
        paths = [file.path for files in parts.values() for file in files]
        return decoded(Cache(f"folder {root}", state, wanted.to_plain()), lambda: Files(paths), wanted)

    def _dataset(
        self, entry: Entry, parts: _Listed, targets: Targets, evaluation: Evaluation | None, findings: Findings
    ) -> Dataset:
        """Return the data set of decoded images and their targets."""
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        dataset = dataset_of(_parts(entry, parts), targets, choices, findings)
        return replace(dataset, became={**became(entry.found, dataset.in_shape), "targets": targets.kind})


def _parts(entry: Entry, listed: _Listed) -> dict[str, Part]:
    """Return the parts of a listing without the files that could not be read."""
    skipped = {index for index, _ in entry.found["skipped"]}
    parts: dict[str, Part] = {}
    place = row = 0
    for part, (files, targets) in listed.items():
        kept = [index for index in range(len(files)) if place + index not in skipped]
        place += len(files)
        names = [shown(files[index].path) for index in kept]
        parts[part] = entry_part(entry, torch.arange(row, row + len(kept)), targets[kept], names)
        row += len(kept)
    return parts


def _findings(listing: Listing, entry: Entry) -> Findings:
    """Return what there is to say of the files."""
    found = found_in_images(entry.found, entry.samples.shape[1:])
    loose = listing.num_unlabelled
    notes = [f"left out: {loose:,} image files that are in no class folder"] if loose else []
    notes += [f"left out: the folder {shown(name)}, no train, valid or test of classes" for name in listing.unread]
    if said := left_out(listing.others, listing.num_hidden):
        notes.append(said)
    details = [f"left out: {shown(path)} has no suffix of an image" for path in listing.others]
    facts = {**found.facts, "unlabelled": loose, "other_files": len(listing.others), "hidden_files": listing.num_hidden}
    return Findings((*found.notes, *listing.notes, *notes), (*found.details, *details), facts)
