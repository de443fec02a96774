"""The user's own map-style Dataset, unchanged: read into memory once, in the order of its samples."""

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
    """Use a class whose objects return `(x, y)` by index as a data source.

    `open_set` builds it, with parameters besides those of its YAML. A class with a parameter `train` is built with true
    and with false, one with `split` with "train" and with "test"; any other is one set, split by `split_seed`.
    """

    def __init__(
        self, open_set: Callable[..., Any], parameters: Sequence[str], given: Mapping[str, Any], **settings: Any
    ) -> None:
        self._open_set = open_set
        self._parameters = parameters
        self._given = given
        self._settings = settings

    def load(self) -> Dataset:
        """Read all samples; raise DataError that names a wrong one."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its classes."""
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
        """Return the settings of images; `auto` keeps their size, which is the class's choice."""
        of = self._settings
        size = None if of["image_size"] == AUTO else of["image_size"]
        return Wanted(size, of["channels"], of["on_bad"], of["white"], of["resize"]).for_network(of["in_shape"])

    def _on_bad_of_trees(self) -> str:
        """Return data.on_bad; raise ConfigError where settings of images are given for other samples."""
        for key, idle in {"image_size": AUTO, "channels": None, "white": AUTO, "resize": "crop"}.items():
            if (value := self._settings[key]) not in (None, idle):
                no_images = f"the samples of data={self._settings['name']} are not images"
                raise ConfigError(f"data.{key}={value} has no effect: {no_images}; remove it")
        return str(self._settings["on_bad"])


def _as_it_became(dataset: Dataset) -> Dataset:
    """Return a data set with the kind of its targets in `became`."""
    return replace(dataset, became={**dataset.became, "targets": dataset.targets.kind})


def open_parts(open_set: Callable[..., Any], parameters: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data sets of the splits of a class, according to its parameters and the given values."""
    if "train" in parameters and given.get("train") in (None, True):
        return {"train": open_set(train=True), "test": open_set(train=False)}
    if "split" in parameters and given.get("split") in (None, "train"):
        return {"train": open_set(split="train"), "test": open_set(split="test")}
    return {"all": open_set()}


def _steady(dataset: Any) -> Findings:
    """Return a note if a sample differs each time it is read."""
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__} has no samples")
    first, second = (_bytes_of(dataset) for _ in range(2))
    if first == second:
        return Findings()
    note = "samples differ each time they are read, but are read only once: remove random transforms and use augment="
    return Findings((note,))


def _bytes_of(dataset: Any) -> object:
    """Return the values of the first sample for a comparison; None where it cannot be read."""
    try:
        leaves = [leaf for leaf in tree_leaves(dataset[0][0]) if leaf is not None]
        return [of.tobytes() if hasattr(of, "tobytes") else torch.as_tensor(of).numpy().tobytes() for of in leaves]
    except Exception:  # reported when the sample is read
        return None


@contextmanager
def _drawing_the_same(seed: int) -> Iterator[None]:
    """Seed the random generators while a data set is read, so that a resumed run reads the same; restore them after."""
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
    """Keep samples in memory, not in a cache: those of the user's own class may change with its code."""

    def write(self, chunks: Iterable[tuple[Tensor, Measures]], num_bytes: int, found: dict[str, Any]) -> Entry:
        """Return the entry of samples that come chunk by chunk; raise ResourceError where there is no room for them."""
        if not fits_in_memory(num_bytes):
            raise ResourceError(
                f"the samples take {num_bytes:,} bytes, more than half of the memory; use a smaller data.image_size, "
                "or save them as files for data=folder or data=arrays, which are read as needed"
            )
        measured: list[Measures] = []
        # Written into one tensor as they come: two copies may not fit.
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
    """A tensor that `Stored` can open."""

    samples: Tensor

    def __call__(self) -> Tensor:
        return self.samples
