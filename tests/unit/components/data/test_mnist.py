from __future__ import annotations

import errno
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.base.files import DurableFile
from nnrun.components.data.mnist import KMNIST, MNIST, FashionMNIST
from nnrun.components.data.normalize import Normalize

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def load(folder, kind=MNIST):
    return kind(root=str(folder.root), download=False).load()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
def test_reads_what_was_written_and_what_torchvision_reads(kind, make_idx_folder) -> None:
    import torchvision

    folder = make_idx_folder(kind.__name__)
    data = load(folder, kind)
    for prefix, split in (("train", data.train), ("t10k", data.test)):
        assert torch.equal(split.inputs[:, 0], folder.images[prefix])
        assert torch.equal(split.targets, folder.labels[prefix].to(torch.int64))
        oracle = getattr(torchvision.datasets, kind.__name__)(str(folder.root), train=prefix == "train")
        assert torch.equal(split.inputs[:, 0], oracle.data)
        assert torch.equal(split.targets, oracle.targets)
    assert data.train.inputs.shape == (30, 1, 28, 28)
    assert data.train.inputs.dtype == torch.uint8
    assert data.in_shape == (1, 28, 28)
    assert len(data.class_names) == 10
    assert data.preprocessing == Normalize((kind.mean,), (kind.std,))
    if kind is not MNIST:
        assert list(data.class_names) == oracle.classes


def test_loading_imports_nothing_heavy(idx_folder) -> None:
    program = (
        "import sys; from nnrun.components.data.digits import Digits; from nnrun.components.data.mnist import MNIST;"
        " import nnrun.components.data.cifar;"
        f"Digits().load(); MNIST({str(idx_folder.root)!r}, True).load();"
        "print([m for m in ('torchvision', 'sklearn', 'scipy', 'pandas', 'rich', 'hydra') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_packed_files_are_unpacked_beside(idx_folder) -> None:
    plain = {path.name: path.read_bytes() for path in idx_folder.folder.iterdir()}
    idx_folder.pack()
    data = load(idx_folder)
    assert torch.equal(data.train.inputs[:, 0], idx_folder.images["train"])
    for name, content in plain.items():
        assert (idx_folder.folder / name).read_bytes() == content
    assert len(list(idx_folder.folder.iterdir())) == 8  # and no temporary file


def test_packed_files_in_a_read_only_folder_are_read_all_the_same(idx_folder, monkeypatch) -> None:
    idx_folder.pack()

    def refuse(_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(DurableFile, "__enter__", refuse)  # permissions do not bind root, who may run the tests
    assert torch.equal(load(idx_folder).test.inputs[:, 0], idx_folder.images["t10k"])
    assert all(path.suffix == ".gz" for path in idx_folder.folder.iterdir())


def damage_magic(content: bytes) -> bytes:
    return b"\x00\x00\x0d\x03" + content[4:]


def claim(num_samples: int):
    return lambda content: content[:4] + struct.pack(">I", num_samples) + content[8:]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("name", "damage", "what"),
    [
        (TRAIN_IMAGES, damage_magic, "starts with 00000d03, not with 00000803"),
        (TRAIN_IMAGES, lambda content: b"", "starts with nothing"),
        (TRAIN_IMAGES, lambda content: content[:10], "ends inside its header"),
        (TRAIN_IMAGES, lambda content: content[:-1], "states 23,520 values, but the file has fewer"),
        (TRAIN_IMAGES, lambda content: content + b"x", "states 23,520 values, but the file has more"),
        (TRAIN_IMAGES, claim(2**32 - 1), "states 3,367,254,359,280 values, but the file has fewer"),
        (TEST_LABELS, claim(0), "has no samples"),
        (TEST_LABELS, lambda content: b"<html>not found</html>", "starts with 3c68746d"),
    ],
    ids=["magic", "empty", "header", "truncated", "longer", "claims terabytes", "no samples", "html"],
)
def test_a_damaged_file_is_named(idx_folder, name, damage, what, packed) -> None:
    path = idx_folder.write(name, damage((idx_folder.folder / name).read_bytes()))
    if packed:
        idx_folder.pack()
        path = path.with_name(f"{name}.gz")
    with pytest.raises(DataError) as caught:
        load(idx_folder)
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert what in str(caught.value)
    assert "data.download=true" in str(caught.value)


def test_a_truncated_gz_is_named(idx_folder) -> None:
    idx_folder.pack()
    name = f"{TEST_IMAGES}.gz"
    path = idx_folder.write(name, (idx_folder.folder / name).read_bytes()[:-50])
    with pytest.raises(DataError, match=f"{path} is damaged"):
        load(idx_folder)


def test_images_and_labels_must_be_as_many(idx_folder, idx_bytes) -> None:
    idx_folder.write(TEST_LABELS, idx_bytes(idx_folder.labels["t10k"][:-3]))
    with pytest.raises(DataError, match=f"{TEST_IMAGES} has 20 images, but {TEST_LABELS} has 17 labels"):
        load(idx_folder)


def test_a_label_outside_the_classes_is_found(idx_folder, idx_bytes) -> None:
    labels = idx_folder.labels["train"].clone()
    labels[7] = 10
    path = idx_folder.write(TRAIN_LABELS, idx_bytes(labels))
    with pytest.raises(DataError, match=f"{path}: sample 7 has the label 10; allowed: 0..9"):
        load(idx_folder)


def test_train_and_test_must_have_one_size(idx_folder, idx_bytes) -> None:
    idx_folder.write(TEST_IMAGES, idx_bytes(idx_folder.images["t10k"][:, :20]))
    with pytest.raises(DataError, match=r"training images are \(28, 28\), but the test images \(20, 28\)"):
        load(idx_folder)


def test_an_unreadable_file_is_named(idx_folder, monkeypatch) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} cannot be read: Permission denied"):
        load(idx_folder)


def test_missing_files_are_listed_with_their_folder_and_their_source(idx_folder) -> None:
    (idx_folder.folder / TEST_LABELS).unlink()
    with pytest.raises(DataError) as caught:
        load(idx_folder)
    message = str(caught.value)
    assert f"data.root={idx_folder.root} lacks files of MNIST" in message
    assert "data.download=true" in message
    assert f"put {TEST_LABELS}.gz into {idx_folder.folder} (from https://ossci-datasets.s3.amazonaws.com" in message
    asked_for = message.partition("put ")[2].partition(" into")[0]
    assert asked_for == f"{TEST_LABELS}.gz"  # control: what is there is not asked for
    assert len(caught.value.messages) <= 4


def test_what_the_message_asks_for_is_enough(idx_folder) -> None:
    idx_folder.pack()
    assert len(load(idx_folder).train) == 30


def test_a_root_that_is_a_file_is_named(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for root in (path, path / "below"):
        with pytest.raises(DataError, match=f"data.root={root}: {path} is a file"):
            MNIST(str(root), True).load()


def test_missing_files_are_fetched(idx_folder, server, monkeypatch) -> None:
    import torchvision

    idx_folder.pack()
    resources = [(path.name, server.serve(path.name, path.read_bytes())) for path in idx_folder.folder.iterdir()]
    (idx_folder.folder / f"{TRAIN_LABELS}.gz").unlink()
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{server.url}/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)

    data = MNIST(str(idx_folder.root), True).load()

    assert torch.equal(data.train.targets, idx_folder.labels["train"].to(torch.int64))
    assert server.requested == [f"{TRAIN_LABELS}.gz"]  # control: nothing that is there is fetched again
    MNIST(str(idx_folder.root), True).load()
    assert len(server.requested) == 1


def test_without_a_network_the_files_are_listed(tmp_path, dead_url, monkeypatch) -> None:
    import torchvision

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [f"{dead_url}/"])
    with pytest.raises(DataError) as caught:
        FashionMNIST(str(tmp_path), True).load()
    message = str(caught.value)
    assert "Connection refused" in message
    folder = tmp_path / "FashionMNIST" / "raw"
    for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS):
        assert f"{name}.gz" in message
    assert f"into {folder} (from {dead_url}/)" in message
    assert len(caught.value.messages) <= 4
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
