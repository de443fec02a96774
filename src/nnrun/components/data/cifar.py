"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), in torchvision's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.array_pickle import StoredArray, read_array_pickle
from nnrun.components.data.data_root import damaged, data_root, is_file
from nnrun.components.data.download import RemoteFile, check_download, extract, obtain
from nnrun.components.data.normalize import Normalize
from nnrun.core.seams.data import Dataset, Split

IMAGE_SHAPE = (3, 32, 32)
NUM_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CIFAR10:
    """Open CIFAR-10: 50,000 and 10,000 photographs of 10 classes, in `root/cifar-10-batches-py`."""

    root: str
    download: bool

    folder_name: ClassVar[str] = "cifar-10-batches-py"
    archive_name: ClassVar[str] = "cifar-10-python.tar.gz"
    train_files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{number}" for number in range(1, 6))
    test_files: ClassVar[tuple[str, ...]] = ("test_batch",)
    meta_file: ClassVar[str] = "batches.meta"
    labels_key: ClassVar[str] = "labels"
    names_key: ClassVar[str] = "label_names"
    num_classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    def load(self) -> Dataset:
        """Read all files, unpacking the archive where they are missing; raise DataError where one is damaged."""
        folder = data_root(self.root) / self.folder_name
        self._unpack_missing(folder)
        return Dataset(
            train=self._read_split(folder, self.train_files),
            test=self._read_split(folder, self.test_files),
            targets=Targets.classes(self._read_class_names(folder / self.meta_file)),
            preprocessing=Normalize(self.mean, self.std),
        )

    def _unpack_missing(self, folder: Path) -> None:
        """Unpack missing files from the archive, and download the archive if needed."""
        missing = [name for name in (*self.train_files, *self.test_files, self.meta_file) if not is_file(folder / name)]
        if not missing:
            return
        published, archive = _published(type(self).__name__), folder.parent / self.archive_name
        if is_file(archive):
            check_download(published, archive)
        else:
            obtain(type(self).__name__, self.root, folder.parent, [published], self.download)
        extract(archive, folder, missing)

    def _read_split(self, folder: Path, names: Sequence[str]) -> Split:
        """Return the images of several files as uint8 `(N, 3, 32, 32)`, and their labels."""
        parts = [self._read_part(folder / name) for name in names]
        pixels = bytearray().join(pixels for pixels, _ in parts)
        labels = [label for _, labels in parts for label in labels]
        return Split(torch.frombuffer(pixels, dtype=torch.uint8).view(-1, *IMAGE_SHAPE), torch.tensor(labels))

    def _read_part(self, path: Path) -> tuple[bytes, list[int]]:
        """Return the pixels and the labels of one file, checked."""
        content = read_array_pickle(path)
        array, labels = content.get("data"), content.get(self.labels_key)
        if not isinstance(array, StoredArray) or not isinstance(labels, list):
            raise damaged(path, f"it has no 'data' or no {self.labels_key!r}")
        num_images = len(labels)
        if num_images == 0 or not array.is_uint8((num_images, NUM_PIXELS)):
            raise damaged(path, f"its data is {array}, not uint8 of ({num_images}, {NUM_PIXELS})")
        if len(array.data) != num_images * NUM_PIXELS:
            raise damaged(path, f"it has {len(array.data):,} of {num_images * NUM_PIXELS:,} pixel values")
        for index, label in enumerate(labels):
            if type(label) is not int or not 0 <= label < self.num_classes:
                shown = label if type(label) is int and label.bit_length() < 64 else f"a {type(label).__name__}"
                raise DataError(f"{path}: sample {index} has the label {shown}; allowed: 0..{self.num_classes - 1}")
        return array.data, labels

    def _read_class_names(self, path: Path) -> tuple[str, ...]:
        """Return the names of the classes, in the order of the labels."""
        names = read_array_pickle(path).get(self.names_key)
        if not isinstance(names, list) or len(names) != self.num_classes or not all(isinstance(n, str) for n in names):
            raise damaged(path, f"it does not have {self.num_classes} {self.names_key!r}")
        return tuple(names)


class CIFAR100(CIFAR10):
    """Open CIFAR-100: 50,000 and 10,000 photographs of 100 classes (the fine ones), in `root/cifar-100-python`."""

    folder_name = "cifar-100-python"
    archive_name = "cifar-100-python.tar.gz"
    train_files = ("train",)
    test_files = ("test",)
    meta_file = "meta"
    labels_key = "fine_labels"
    names_key = "fine_label_names"
    num_classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)


def _published(name: str) -> RemoteFile:
    """Return the archive with its source, from torchvision."""
    import torchvision.datasets  # noqa: PLC0415 - it takes seconds, and only a missing archive needs it

    source = getattr(torchvision.datasets, name)
    return RemoteFile(source.filename, (source.url.rpartition("/")[0],), source.tgz_md5)
