"""The user's own map-style Dataset, with no change to it: read once, in the order of its samples, into memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError, ResourceError
from nnrun.base.host import fits_in_memory
from nnrun.base.targets import Targets
from nnrun.base.visible import few
from nnrun.checkpoints.payload import writable
from nnrun.components.data.cache import Entry
from nnrun.components.data.dataset_from_parts import Choices, Part, dataset_of, entry_part
from nnrun.components.data.decoding import decode_into
from nnrun.components.data.found import became, found_in_images
from nnrun.components.data.image_form import Wanted
from nnrun.components.data.labels import classes_of, numbers_among
from nnrun.components.data.map_style_items import Items
from nnrun.components.data.sample_stats import Measures
from nnrun.components.data.transforms import refuse_mean_of_255
from nnrun.core.lazy_samples import Stored
from nnrun.core.randomness import SPLIT, mix
from nnrun.core.seams.data import Dataset, Evaluation, Findings
from nnrun.core.target_values import target_counts


class OwnDataset:
    """Take a class whose objects give `(x, y)` by index for a data source.

    `open_set` builds it with parameters besides those of its YAML. Where it takes `train`, it is built with true and
    with false; where it takes `split`, with "train" and with "test"; else it is one set, split by `split_seed`.
    """

    def __init__(
        self, open_set: Callable[..., Any], parameters: Sequence[str], given: Mapping[str, Any], **settings: Any
    ) -> None:
        self._open_set = open_set
        self._parameters = parameters
        self._given = given
        self._settings = settings

    def load(self) -> Dataset:
        """Read all samples; raise DataError that names the one that is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to measure a trained network: with its classes."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        settings = self._settings
        wanted = Wanted.of(
            settings["image_size"], settings["channels"], settings["on_bad"], settings["white"], settings["in_shape"]
        )
        datasets = open_parts(self._open_set, self._parameters, self._given)
        if evaluation is None:
            for dataset in datasets.values():
                refuse_mean_of_255(dataset, settings["name"])
        choices = Choices(None, settings["split_seed"], settings["split_by"], None, None, evaluation)
        with _drawing_the_same(settings["split_seed"]):
            findings = _steady(next(iter(datasets.values())))
            items = Items(f"data={settings['name']}", datasets, in_processes=False)
            entry = decode_into(MemoryStore(), items, wanted)
        return dataset_of_items(entry, datasets, choices, findings, settings["class_order"])


def open_parts(open_set: Callable[..., Any], parameters: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data sets of the parts of a class, by what its parameters and what is given for them say."""
    if "train" in parameters and given.get("train") in (None, True):
        return {"train": open_set(train=True), "test": open_set(train=False)}
    if "split" in parameters and given.get("split") in (None, "train"):
        return {"train": open_set(split="train"), "test": open_set(split="test")}
    return {"all": open_set()}


def dataset_of_items(
    entry: Entry, datasets: Mapping[str, Any], choices: Choices, findings: Findings, class_order: str = "natural"
) -> Dataset:
    """Return the data set of samples that were read out of other data sets, one after the other."""
    skipped = {index for index, _ in entry.found["skipped"]}
    # Where no sample has a label, none is kept.
    given = entry.found["labels"] or [None] * len(entry.samples)
    labels: dict[str, list[Any]] = {}
    rows: dict[str, Tensor] = {}
    place = row = 0
    for part, dataset in datasets.items():
        kept = sum(index not in skipped for index in range(place, place + len(dataset)))
        place += len(dataset)
        rows[part] = torch.arange(row, row + kept)
        labels[part] = given[row : row + kept]
        row += kept
    first = next(iter(datasets))
    listed = _listed(datasets[first])
    if choices.evaluation is not None:
        targets = choices.evaluation.targets
        numbers = numbers_among(targets, labels, listed)
    else:
        targets, numbers = classes_of(labels, first, listed, class_order)
        if not skipped:
            targets, numbers, notes = without_empty(targets, numbers)
            findings = replace(findings, notes=(*findings.notes, *notes))
    parts: dict[str, Part] = {part: entry_part(entry, rows[part], numbers[part]) for part in datasets}
    found = found_in_images(entry.found, entry.samples.shape[1:])
    both = replace(found, notes=(*findings.notes, *found.notes), facts={**findings.facts, **found.facts})
    return replace(dataset_of(parts, targets, choices, both), became=became(entry.found))


def without_empty(targets: Targets, numbers: Mapping[str, Tensor]) -> tuple[Targets, dict[str, Tensor], list[str]]:
    """Return classes and numbers without those classes of a library's list that no part has a sample of, and a note.

    A class that only another part than the training's has is left: the test would ask for what cannot be learned.
    """
    counts = torch.tensor([target_counts(of, targets) for of in numbers.values()]).sum(0)
    kept = counts > 0
    names = tuple(name for name, is_kept in zip(targets.names, kept.tolist(), strict=True) if is_kept)
    empty = [name for name, is_kept in zip(targets.names, kept.tolist(), strict=True) if not is_kept]
    if not empty:
        return targets, dict(numbers), []
    if len(names) < 2:
        raise DataError(
            f"only one of the classes has samples, {', '.join(names)}; classification needs two classes or more"
        )
    place = kept.cumsum(0) - 1
    note = f"left out: {len(empty):,} of {targets.num_outputs:,} listed classes, without samples: {few(empty)}"
    return Targets.classes(names), {part: place[of] for part, of in numbers.items()}, [note]


def _listed(dataset: Any) -> tuple[str, ...] | None:
    """Return what a data set calls its classes, if it says so."""
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and len(names) > 1:
        return tuple(writable(str(name)) for name in names)
    return None


def _steady(dataset: Any) -> Findings:
    """Return what there is to say if a sample is another one each time that it is read."""
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__} has no samples")
    first, second = (_bytes_of(dataset) for _ in range(2))
    if first == second:
        return Findings()
    note = (
        "samples differ from one reading to the next: they are read once, so take random changes out, and use augment="
    )
    return Findings((note,))


def _bytes_of(dataset: Any) -> object:
    """Return the values of the first sample as what can be compared; of one that cannot be read nothing."""
    try:
        picture = dataset[0][0]
        return picture.tobytes() if hasattr(picture, "tobytes") else torch.as_tensor(picture).numpy().tobytes()
    except Exception:  # what is wrong with it is said when it is read in its turn
        return None


@contextmanager
def _drawing_the_same(seed: int) -> Iterator[None]:
    """Seed what a data set may draw from while it is read, so that a resumed run reads the same; put it back after."""
    import numpy as np  # noqa: PLC0415 - a run on other data does not pay for it

    number = mix(SPLIT, seed)
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number)
        random.seed(number)
        np.random.seed(number % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class MemoryStore:
    """Keep samples in memory: what a class of the user's own gives may change with its code, so no file keeps it."""

    def write(self, chunks: Iterable[tuple[Tensor, Measures]], num_bytes: int, found: dict[str, Any]) -> Entry:
        """Return the entry of samples that come chunk by chunk; raise ResourceError where there is no room for them."""
        if not fits_in_memory(num_bytes):
            raise ResourceError(
                f"the samples take {num_bytes:,} bytes, more than half of the memory; set data.image_size to a smaller "
                "one, or write them as files for data=folder or data=arrays, which are not read whole"
            )
        pairs = list(chunks)
        samples = torch.cat([values for values, _ in pairs])
        return Entry(Stored(_Held(samples)), Measures.together([measures for _, measures in pairs]), found)


@dataclass(frozen=True)
class _Held:
    """A tensor as what `Stored` opens."""

    samples: Tensor

    def __call__(self) -> Tensor:
        return self.samples
