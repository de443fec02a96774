"""The user's own map-style Dataset, with no change to it: read once, in the order of its samples, into memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.base.errors import ConfigError, DataError, ResourceError
from nnrun.base.host import fits_in_memory
from nnrun.components.data.cache import Entry
from nnrun.components.data.dataset_from_parts import Choices
from nnrun.components.data.decoding import decode_into
from nnrun.components.data.image_form import AUTO, Wanted
from nnrun.components.data.map_style_dataset import Wish, dataset_of_items, dataset_of_trees, listed_by
from nnrun.components.data.map_style_items import Items
from nnrun.components.data.map_style_trees import holds_trees, read_trees
from nnrun.components.data.sample_stats import Measures
from nnrun.components.data.transforms import refuse_mean_of_255
from nnrun.core.lazy_samples import Stored
from nnrun.core.randomness import SPLIT, mix
from nnrun.core.seams.data import Dataset, Evaluation, Findings


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
        datasets = open_parts(self._open_set, self._parameters, self._given)
        first = next(iter(datasets.values()))
        if evaluation is None:
            for dataset in datasets.values():
                refuse_mean_of_255(dataset, settings["name"])
        choices = Choices(None, settings["split_seed"], settings["split_by"], None, None, evaluation)
        wish = Wish(settings["targets"], settings["class_order"])
        with _drawing_the_same(settings["split_seed"]):
            findings = _steady(first)
            if holds_trees(first):
                read = read_trees(f"data={settings['name']}", datasets, self._on_bad_of_trees())
                return _as_it_became(dataset_of_trees(read, listed_by(first), choices, findings, wish))
            items = Items(f"data={settings['name']}", datasets, in_processes=False)
            entry = decode_into(MemoryStore(), items, self._wanted())
        return _as_it_became(dataset_of_items(entry, datasets, choices, findings, wish))

    def _wanted(self) -> Wanted:
        """Return what pictures are brought to; `auto` is their own size, which is for the class to choose."""
        of = self._settings
        size = None if of["image_size"] == AUTO else of["image_size"]
        return Wanted(size, of["channels"], of["on_bad"], of["white"], of["resize"]).for_network(of["in_shape"])

    def _on_bad_of_trees(self) -> str:
        """Return data.on_bad; raise ConfigError where settings of pictures are named, and there are none."""
        for key, idle in {"image_size": AUTO, "channels": None, "white": AUTO, "resize": "crop"}.items():
            if (value := self._settings[key]) not in (None, idle):
                no_pictures = f"the samples of data={self._settings['name']} are no pictures"
                raise ConfigError(f"data.{key}={value} has no effect: {no_pictures}; leave it out")
        return str(self._settings["on_bad"])


def _as_it_became(dataset: Dataset) -> Dataset:
    """Return a data set that says what kind of targets it has."""
    return replace(dataset, became={**dataset.became, "targets": dataset.targets.kind})


def open_parts(open_set: Callable[..., Any], parameters: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data sets of the parts of a class, by what its parameters and what is given for them say."""
    if "train" in parameters and given.get("train") in (None, True):
        return {"train": open_set(train=True), "test": open_set(train=False)}
    if "split" in parameters and given.get("split") in (None, "train"):
        return {"train": open_set(split="train"), "test": open_set(split="test")}
    return {"all": open_set()}


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
        leaves = [leaf for leaf in tree_leaves(dataset[0][0]) if leaf is not None]
        return [of.tobytes() if hasattr(of, "tobytes") else torch.as_tensor(of).numpy().tobytes() for of in leaves]
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
        measured: list[Measures] = []
        # As they come, into one tensor: twice they may not fit.
        whole, num_samples = torch.empty(num_bytes, dtype=torch.uint8), 0
        for samples, measures in chunks:
            if not measured:
                whole = whole.view(samples.dtype).view(-1, *samples.shape[1:])
            whole[num_samples : num_samples + len(samples)] = samples
            num_samples += len(samples)
            measured.append(measures)
        return Entry(Stored(_Held(whole[:num_samples])), Measures.together(measured), found)


@dataclass(frozen=True)
class _Held:
    """A tensor as what `Stored` opens."""

    samples: Tensor

    def __call__(self) -> Tensor:
        return self.samples
