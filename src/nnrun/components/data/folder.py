"""Images in class folders, or listed in a CSV file: the user's own data set, decoded once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nnrun.base.paths import expanded, shown
from nnrun.base.targets import Targets
from nnrun.components.data.cache import Cache, Entry
from nnrun.components.data.data_root import data_root
from nnrun.components.data.dataset_from_parts import Choices, Part, check_counts, dataset_of, entry_part
from nnrun.components.data.decoding import decoded
from nnrun.components.data.found import became, found_in_images
from nnrun.components.data.hub_sets import holds_columns
from nnrun.components.data.image_form import AUTO, Wanted
from nnrun.components.data.label_lists import Labels
from nnrun.components.data.labelled_images import LabelledImages, LabelSettings, labelled_images
from nnrun.components.data.split_columns import KeySettings
from nnrun.core.seams.data import Dataset, Evaluation, Findings


@dataclass(frozen=True)
class Folder:
    """Open a folder of images: class folders below `train/`, `valid/` and `test/`, or class folders alone.

    Or a file or folder of Parquet or Arrow, such as a data set of Hugging Face, with the images in the column `image`.
    Or images listed in a CSV file: `labels`, a file for all splits or one for each, or `labels.csv` in the folder where
    there are no class folders. `target` names the columns to learn, and `targets` says whether they are classes, labels
    or values. `group` and `time` name columns, or are patterns of the files' names (KeySettings).
    Without `test/`, `test_fraction` of the samples is held out for it by `split_seed`, stratified by class.
    `image_size`, `channels`, `mean` and `std` (of pixels in 0..1) are set from the images where they are None; size and
    channels from `in_shape`, the input shape of a trained network, if it is given.
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
    labels: Labels = None
    target: str | Sequence[str] | None = None
    group: str | None = None
    time: str | None = None
    image: str | None = None

    def load(self) -> Dataset:
        """Decode the images, or read them from the cache; raise DataError where something is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its classes; the training split may be missing."""
        return self._load(evaluation)

    @functools.cached_property
    def _to_train_on(self) -> LabelledImages:
        return self._labelled(None)

    @property
    def num_to_train_on(self) -> int:
        """The number of training samples before any are held out; nothing is decoded for it."""
        values = self._to_train_on.values
        return len(values["train"] if "train" in values else values["all"])

    def _labelled(self, known: Targets | None) -> LabelledImages:
        """Return the files and their targets."""
        keys = KeySettings(self.group, self.time)
        settings = LabelSettings(
            self.labels, self.target, self.targets, self.class_order, self.on_bad, keys, self.image
        )
        return labelled_images(self._root, settings, known)

    @property
    def _root(self) -> Path:
        """The folder of the images, or the file that holds them in rows."""
        path = expanded(self.root).absolute()
        return path if holds_columns(path) and path.is_file() else data_root(self.root)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        images = self._to_train_on if evaluation is None else self._labelled(evaluation.targets)
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        check_counts(images.values, images.targets, choices)
        entry = self._decoded(images)
        found = found_in_images(entry.found, entry.samples.shape[1:])
        findings = Findings(
            (*found.notes, *images.findings.notes),
            (*found.details, *images.findings.details),
            {**found.facts, **images.findings.facts},
        )
        dataset = dataset_of(_parts(entry, images), images.targets, choices, findings)
        became_now = {**became(entry.found, dataset.in_shape), "targets": images.targets.kind}
        return replace(dataset, became=became_now)

    def _decoded(self, images: LabelledImages) -> Entry:
        """Return the decoded images of all splits, split after split."""
        wanted = Wanted(self.image_size, self.channels, self.on_bad, self.white, self.resize, self.jpeg_draft)
        wanted = wanted.for_network(self.in_shape)
        cache = Cache(f"folder {self._root}", images.state, wanted.to_plain())
        with ExitStack() as stack:
            return decoded(cache, lambda: stack.enter_context(images.opened()), wanted)


def _parts(entry: Entry, images: LabelledImages) -> dict[str, Part]:
    """Return the splits without the files that could not be read."""
    skipped = {index for index, _ in entry.found["skipped"]}
    parts: dict[str, Part] = {}
    place = row = 0
    for part, (files, targets) in images.parts.items():
        kept = [index for index in range(len(files)) if place + index not in skipped]
        place += len(files)
        names = [shown(files[index].path) for index in kept]
        keys = images.keys[part].subset(torch.tensor(kept)) if images.keys else None
        parts[part] = entry_part(entry, torch.arange(row, row + len(kept)), targets[kept], names, keys)
        row += len(kept)
    return parts
