"""MNIST and data sets in its format, read from torchvision's layout without torchvision."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.files import DurableFile
from nnrun.base.targets import Targets
from nnrun.components.data.data_root import damaged, data_root, is_file, unreadable
from nnrun.components.data.download import RemoteFile, obtain
from nnrun.components.data.idx import PACKED_SUFFIX, IdxArray, read_idx_array
from nnrun.components.data.normalize import Normalize
from nnrun.core.seams.data import Dataset, Split

NUM_CLASSES = 10
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class MNIST:
    """Open MNIST: 60,000 and 10,000 handwritten digits (LeCun, Cortes & Burges), in `root/MNIST/raw`."""

    root: str
    download: bool

    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    mean: ClassVar[float] = 0.1307
    std: ClassVar[float] = 0.3081

    def load(self) -> Dataset:
        """Read the four files, each plain or as `.gz`; raise DataError where one is missing or damaged."""
        name = type(self).__name__
        folder = data_root(self.root) / name / "raw"
        missing = [file for pair in FILES.values() for file in pair if find_idx(folder, file) is None]
        if missing:
            obtain(name, self.root, folder, _published(name, missing), self.download)
        train, test = (read_split(folder, *FILES[split]) for split in ("train", "test"))
        if train.inputs.shape[1:] != test.inputs.shape[1:]:
            shapes = [tuple(split.inputs.shape[2:]) for split in (train, test)]
            raise DataError(f"{folder}: the training images are {shapes[0]}, but the test images {shapes[1]}")
        return Dataset(train, test, Targets.classes(self.class_names), Normalize((self.mean,), (self.std,)))


class FashionMNIST(MNIST):
    """Open Fashion-MNIST: pieces of clothing (Xiao et al. 2017, arXiv 1708.07747), in `root/FashionMNIST/raw`."""

    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    mean = 0.2860
    std = 0.3530


class KMNIST(MNIST):
    """Open Kuzushiji-MNIST: Japanese characters (Clanuwat et al. 2018, arXiv 1812.01718), in `root/KMNIST/raw`."""

    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mean = 0.1918
    std = 0.3483


def find_idx(folder: Path, name: str) -> Path | None:
    """Return the path of a file, plain or else `.gz`, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if is_file(path)), None)


def _published(name: str, missing: list[str]) -> list[RemoteFile]:
    """Return the missing files with their sources, from torchvision."""
    import torchvision.datasets  # noqa: PLC0415 - it takes seconds, and only missing files need it

    source = getattr(torchvision.datasets, name)
    return [
        RemoteFile(file, tuple(source.mirrors), md5) for file, md5 in source.resources if Path(file).stem in missing
    ]


def read_split(folder: Path, images_name: str, labels_name: str) -> Split:
    """Return the images as uint8 `(N, 1, H, W)` and their labels as int64; raise DataError where they do not match."""
    images, labels = read_idx(folder, images_name, num_dims=3), read_idx(folder, labels_name, num_dims=1)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {images_name} has {len(images)} images, but {labels_name} has {len(labels)} labels; "
            "move the wrong one away, and run again with data.download=true"
        )
    wrong = (labels >= NUM_CLASSES).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{folder / labels_name}: sample {index} has the label {int(labels[index])}; allowed: 0..{NUM_CLASSES - 1}"
        )
    return Split(images[:, None], labels.to(torch.int64))


def read_idx(folder: Path, name: str, num_dims: int) -> Tensor:
    """Return the values of an idx file of uint8; a `.gz` is unpacked beside it for the next time."""
    path = find_idx(folder, name)
    if path is None:
        raise DataError(f"{folder / name} is missing")
    try:
        array = read_idx_array(path, num_dims)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if path.suffix == PACKED_SUFFIX:
        _store_unpacked(folder, name, array)
    return torch.frombuffer(array.values, dtype=torch.uint8).view(array.shape)


def _store_unpacked(folder: Path, name: str, array: IdxArray) -> None:
    """Write the plain file beside its `.gz`."""
    try:
        with DurableFile(folder) as file:
            file.write(array.header)
            file.write(array.values)
            file.commit(name)
    except OSError:
        # The file would only save time; a folder that is not writable is no reason to stop.
        return
