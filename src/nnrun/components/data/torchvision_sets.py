"""torchvision's classification data sets, by name, decoded once into the cache."""

from __future__ import annotations

import functools
import inspect
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ConfigError, DataError, NnrunError, did_you_mean
from nnrun.base.files import state_of
from nnrun.base.foreign_errors import of_the_machine
from nnrun.base.paths import shown
from nnrun.components.data.cache import Cache
from nnrun.components.data.data_root import data_root
from nnrun.components.data.dataset_from_parts import Choices
from nnrun.components.data.decoding import decoded
from nnrun.components.data.image_form import AUTO, Wanted
from nnrun.components.data.map_style_dataset import Wish, dataset_of_items
from nnrun.components.data.map_style_items import Items
from nnrun.core.seams.data import Dataset, Evaluation, Findings

# Data sets whose samples are an image and one label.
NAMES = (
    *("Caltech101", "Caltech256", "CIFAR10", "CIFAR100", "Country211", "DTD", "EMNIST", "EuroSAT", "FakeData"),
    *("FashionMNIST", "FER2013", "FGVCAircraft", "Flowers102", "Food101", "GTSRB", "ImageNet", "Imagenette"),
    *("INaturalist", "KMNIST", "LFWPeople", "MNIST", "Omniglot", "OxfordIIITPet", "PCAM", "Places365", "QMNIST"),
    *("RenderedSST2", "SEMEION", "StanfordCars", "STL10", "SUN397", "SVHN", "USPS"),
)
# Values of their parameter `split`; without a test split, the validation split is the test split.
SPLITS = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val", "valid"), "valid": ("val", "valid")}
# Set by nnrun itself.
OURS = ("root", "download", "transform", "target_transform", "transforms", "loader", "train")


@dataclass(frozen=True)
class TorchvisionDataset:
    """Open a torchvision data set in `root`; `options` are its other parameters, such as `{split: letters}` for EMNIST.

    Its splits are those of its parameter `train` or `split`. Where `options` set `split`, or there is neither
    parameter, it is one set, of which `test_fraction` is held out by `split_seed`.
    """

    name: str
    root: str
    download: bool
    options: Mapping[str, Any]
    image_size: int | Sequence[int] | str | None
    channels: int | None
    on_bad: str
    test_fraction: float | None
    split_seed: int
    split_by: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    in_shape: Sequence[int] | None
    white: float | str | None = AUTO
    resize: str = "crop"

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            hint = did_you_mean(self.name, NAMES) or f"available: {', '.join(NAMES)}"
            raise ConfigError(f"data.dataset.name={self.name} is not a torchvision classification data set; {hint}")

    def load(self) -> Dataset:
        """Decode all images, or read them from the cache; raise DataError where files are missing."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its classes."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        root = data_root(self.root)
        _refuse_pipes(root)
        datasets = self._open()
        wanted = Wanted(self.image_size, self.channels, self.on_bad, self.white, self.resize)
        wanted = wanted.for_network(self.in_shape)
        source = f"torchvision {self.name} {sorted(self.options.items())} {root}"
        cache = Cache(source, _state(root, datasets), wanted.to_plain())
        entry = decoded(cache, lambda: Items(self.name, datasets, in_processes=True), wanted)
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, self.mean, self.std, evaluation)
        return dataset_of_items(entry, datasets, choices, Findings(), Wish("classes"))

    def _open(self) -> dict[str, Any]:
        """Return the data sets of the splits that exist."""
        import torchvision.datasets  # noqa: PLC0415 - it takes seconds, and only this data needs it

        kind = getattr(torchvision.datasets, self.name)
        parameters = _parameters(kind)
        free = [name for name in parameters if name not in OURS]
        for key in self.options:
            if key in OURS or key not in parameters:
                hint = did_you_mean(key, free) or f"it takes {', '.join(free)}"
                if key in OURS:
                    hint = f"nnrun sets it itself; {hint}"
                raise ConfigError(f"data.dataset.options.{key} is not a parameter of {self.name}; {hint}")
        fixed = {"root": str(data_root(self.root)), "download": self.download, **self.options}
        make = functools.partial(kind, **{key: value for key, value in fixed.items() if key in parameters})
        if "train" in parameters:
            return {"train": self._make(make, train=True), "test": self._make(make, train=False)}
        if "split" not in parameters or "split" in self.options:
            return {"all": self._make(make)}
        found: dict[str, Any] = {}
        taken: set[str] = set()
        for part, words in SPLITS.items():
            for word in words:
                if part not in found and word not in taken and (dataset := self._make_split(make, word)) is not None:
                    found[part] = dataset
                    taken.add(word)
        if "train" not in found:
            raise DataError(f"{self.name} has no training split; set one with data.dataset.options.split=")
        return found

    def _make_split(self, make: functools.partial[Any], word: str) -> Any:
        """Return a split, or None where the set has none of that name."""
        try:
            return self._make(make, split=word)
        except DataError as error:
            if "Unknown value" in str(error):
                return None
            raise

    def _make(self, make: functools.partial[Any], **part: Any) -> Any:
        """Return a data set; raise DataError where its files are missing or cannot be downloaded."""
        try:
            with _unpacking_inside():
                return make(**part)
        except NnrunError:
            raise
        except Exception as error:  # each set reports missing files in its own way
            if of_the_machine(error):
                raise
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            way = "" if self.download else "; download missing files with data.download=true"
            raise DataError(f"data.root={self.root}: {self.name} cannot be opened: {reason}{way}") from error


@contextmanager
def _unpacking_inside() -> Iterator[None]:
    """Unpack archives with the data filter of PEP 706, so that no file is written outside the folder.

    Some sets unpack archives in the root without verifying a checksum, and an untrusted checkpoint may name the root.
    Python before 3.11.4 has no such filter.
    """
    before = getattr(tarfile.TarFile, "extraction_filter", None)
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)  # type: ignore[assignment]
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


def _parameters(kind: type) -> list[str]:
    """Return the parameters of a class; where it takes `**kwargs`, as EMNIST does, also those of its base class."""
    names: list[str] = []
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(base).parameters.values())
        names += [parameter.name for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return list(dict.fromkeys(names))


def _refuse_pipes(root: Path) -> None:
    """Raise DataError where something below a folder is not a regular file: the library would open it and wait."""
    waiting: list[str | Path] = [root] if root.is_dir() else []
    for folder in waiting:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file() and entry.stat():
                    raise DataError(f"{shown(entry.path)} is a pipe or a device, not a file; remove it")


def _state(root: Path, datasets: Mapping[str, Any]) -> str:
    """Return the key of the cache: the splits' lengths, and the name and state of every file in the root."""
    lines = [f"{part} {len(dataset)}" for part, dataset in datasets.items()]
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_file():
            lines.append(f"{path.relative_to(root)}\0{state_of(path.stat())}")
    return "\n".join(lines)
