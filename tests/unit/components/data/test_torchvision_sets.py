"""torchvision's data sets say in many ways which parts they have; each is asked in its own."""

from __future__ import annotations

import io
import tarfile

import pytest
import torch
import torchvision.datasets
from PIL import Image

from nnrun.base.errors import ConfigError, DataError
from nnrun.components.data.torchvision_sets import NAMES, TorchvisionDataset, _parameters
from support.pictures import SETTINGS


class Fake:
    """Ten pictures of two classes, other ones for each part."""

    def __init__(self, part):
        self.draw = torch.Generator().manual_seed(sum(map(ord, str(part))))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return Image.fromarray(torch.randint(0, 256, (4, 4), generator=self.draw, dtype=torch.uint8).numpy()), index % 2


def by_split(*allowed):
    class BySplit(Fake):
        def __init__(self, root, split="train"):
            if split not in allowed:
                raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {set(allowed)}.")
            super().__init__(split)

    return BySplit


class Base(Fake):
    def __init__(self, root, train=True, download=False):
        super().__init__(train)


class HandsOn(Base):
    """As EMNIST: a `split` that is no part, and the rest unnamed."""

    def __init__(self, root, split, **rest):
        super().__init__(root, **rest)


class Whole(Fake):
    def __init__(self, root, transform=None):
        super().__init__("all")


@pytest.mark.parametrize(
    ("kind", "options", "parts"),
    [
        (Base, {}, (10, None, 10)),
        (HandsOn, {"split": "letters"}, (10, None, 10)),
        (by_split("train", "test"), {}, (10, None, 10)),
        (by_split("train", "val", "test"), {}, (10, 10, 10)),
        (by_split("train", "val"), {}, (10, None, 10)),
        (by_split("trainval", "test"), {}, (10, None, 10)),
        (by_split("train", "extra"), {"split": "extra"}, (8, None, 2)),
        (Whole, {}, (8, None, 2)),
    ],
)
def test_a_dataset_is_asked_only_for_the_splits_that_it_has(kind, options, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "SVHN", kind)
    data = TorchvisionDataset("SVHN", str(tmp_path), False, options, **SETTINGS).load()
    assert tuple(split and len(split) for split in (data.train, data.valid, data.test)) == parts
    assert data.class_names == ("0", "1")
    if parts[2] == 10:
        assert not torch.equal(data.train.inputs.loaded(), data.test.inputs.loaded())


def test_one_without_a_training_split_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "SVHN", by_split("odd", "even"))
    with pytest.raises(DataError, match="SVHN has no training split"):
        TorchvisionDataset("SVHN", str(tmp_path), False, {}, **SETTINGS).load()


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"sizes": 3}, "sizes is not a parameter of FakeData; did you mean 'size'"),
        (
            {"transform": 3},
            "transform is not a parameter of FakeData; nnrun sets it itself; it takes size, image_size,",
        ),
    ],
)
def test_a_parameter_that_is_not_there_or_not_theirs_to_set_is_refused(options, answer, tmp_path):
    with pytest.raises(ConfigError, match=answer) as refused:
        TorchvisionDataset("FakeData", str(tmp_path), False, options, **SETTINGS).load()
    assert "target_transform" not in str(refused.value)


def test_every_name_is_torchvision_s_and_emnist_s_parameters_are_all_known():
    assert [name for name in NAMES if not hasattr(torchvision.datasets, name)] == []
    assert {"split", "train", "download", "root"} <= set(_parameters(torchvision.datasets.EMNIST))


def test_an_archive_is_unpacked_inside_of_the_root(tmp_path):
    """FGVCAircraft unpacks a file of the right name with no checksum. Negative control: tarfile as it stands."""
    root = tmp_path / "root"
    root.mkdir()
    path = root / "fgvc-aircraft-2013b.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    source = TorchvisionDataset("FGVCAircraft", str(root), True, {}, **SETTINGS)
    with pytest.raises(DataError, match="outside"):
        source.load()
    assert not (tmp_path / "outside").exists()
    assert tarfile.TarFile.extraction_filter is None, "the program that nnrun is loaded into keeps its own"
    with tarfile.open(path) as archive:
        archive.extractall(root)
    assert (tmp_path / "outside").read_bytes() == b"abc"


def listing(names, labels, test_labels=None):
    """A set with a list of classes, as EMNIST's letters, whose first one has no sample."""

    class Listing(Base):
        def __init__(self, root, train=True):
            super().__init__(root, train)
            self.classes = names
            self.labels = labels if train or test_labels is None else test_labels

        def __getitem__(self, index):
            return super().__getitem__(index)[0], self.labels[index % len(self.labels)]

    return Listing


def test_a_listed_class_without_samples_is_left_out_and_the_labels_follow(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "SVHN", listing(["N/A", "a", "-", "b"], [3, 1]))
    data = TorchvisionDataset("SVHN", str(tmp_path), False, {}, **SETTINGS).load()
    assert data.class_names == ("a", "b")
    assert data.train.targets[:4].tolist() == [1, 0, 1, 0]
    assert data.findings.notes[0] == "dropped: 2 of 4 listed classes, without samples: N/A, -"


def test_a_class_that_only_the_test_has_is_an_error_and_so_is_one_class_alone(tmp_path, monkeypatch):
    """The negative control: nothing is left out that the test asks for."""
    for (labels, test_labels), message in {
        ((1, 2), (0, 1)): "no training samples of class N/A",
        ((1, 1), (1, 1)): "only one class has samples, a;",
    }.items():
        monkeypatch.setattr(torchvision.datasets, "SVHN", listing(["N/A", "a", "b"], labels, test_labels))
        with pytest.raises(DataError, match=message):
            TorchvisionDataset("SVHN", str(tmp_path / message), False, {}, **SETTINGS).load()
