"""Images in class folders: the user's own data set, decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from nnrun.base.targets import Targets
from nnrun.components.data.cache import Cache, Entry
from nnrun.components.data.data_root import data_root
from nnrun.components.data.dataset_from_parts import Choices, Part, dataset_of, entry_part
from nnrun.components.data.decoding import Files, decoded
from nnrun.components.data.found import became, found_in_images
from nnrun.components.data.image_form import AUTO, Wanted
from nnrun.components.data.images import shown
from nnrun.components.data.left_out import left_out
from nnrun.components.data.listing import LabelledFile, Listing, list_folder
from nnrun.core.seams.data import Dataset, Evaluation, Findings


@dataclass(frozen=True)
class Folder:
    """Open a folder of images: class folders below `train/`, `valid/` and `test/`, or class folders alone.

    Without `test/`, `test_fraction` of the samples is held out for it by `split_seed`, each class with its share.
    `image_size`, `channels` and `mean` and `std`, of pixels in 0..1, follow from the images where they are None;
    `in_shape` is what a trained network takes, and then decides instead.
    """

    root: str
    image_size: int | Sequence[int] | None
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

    def load(self) -> Dataset:
        """Decode the images, or take those that were decoded before; raise DataError where something is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to measure a trained network: with its classes, and no more parts than there are."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        root = data_root(self.root)
        listing = list_folder(root, self.class_order, evaluation.targets.names if evaluation else None)
        files = [file for part in listing.parts.values() for file in part]
        wanted = Wanted.of(self.image_size, self.channels, self.on_bad, self.white, self.in_shape)
        cache = Cache(f"folder {root}", listing.state, wanted.to_plain())
        entry = decoded(cache, lambda: Files([file.path for file in files]), wanted)
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        parts, targets = _parts(entry, listing.parts), Targets.classes(listing.classes)
        dataset = dataset_of(parts, targets, choices, _findings(listing, entry))
        return replace(dataset, became=became(entry.found))


def _parts(entry: Entry, listed: Mapping[str, Sequence[LabelledFile]]) -> dict[str, Part]:
    """Return the parts of a listing without the files that could not be read."""
    skipped = {index for index, _ in entry.found["skipped"]}
    parts: dict[str, Part] = {}
    place = row = 0
    for part, files in listed.items():
        kept = [file for number, file in enumerate(files, place) if number not in skipped]
        place += len(files)
        targets = torch.tensor([file.label for file in kept], dtype=torch.int64)
        parts[part] = entry_part(entry, torch.arange(row, row + len(kept)), targets, [shown(f.path) for f in kept])
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
