from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.components.data.cifar import CIFAR10, CIFAR100
from nnrun.components.data.normalize import Normalize

FILES = {
    CIFAR10: (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"),
    CIFAR100: ("train", "test", "meta"),
}


def part(kind, seed: int, num_images: int = 6) -> dict:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, kind.num_classes, num_images).tolist()
    content = {"data": generator.integers(0, 256, (num_images, 3072), dtype=np.uint8), kind.labels_key: labels}
    if kind is CIFAR100:
        content["coarse_labels"] = [0] * num_images
    return content


def contents(kind) -> dict[str, dict]:
    meta = {kind.names_key: [f"class {number}" for number in range(kind.num_classes)]}
    return {name: meta if "meta" in name else part(kind, seed) for seed, name in enumerate(FILES[kind])}


def write(root: Path, kind, protocol: int = 2) -> dict[str, dict]:
    folder = root / kind.folder_name
    folder.mkdir(parents=True)
    written = contents(kind)
    for name, content in written.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return written


def load(root: Path, kind=CIFAR10, download: bool = False):
    return kind(root=str(root), download=download).load()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_reads_what_was_written(kind, protocol, tmp_path) -> None:
    written = write(tmp_path, kind, protocol)
    data = load(tmp_path, kind)
    for split, names in ((data.train, kind.train_files), (data.test, kind.test_files)):
        pixels = np.vstack([written[name]["data"] for name in names]).reshape(-1, 3, 32, 32)
        assert torch.equal(split.inputs, torch.from_numpy(pixels))
        assert split.targets.tolist() == [label for name in names for label in written[name][kind.labels_key]]
        assert split.targets.dtype == torch.int64
    assert data.in_shape == (3, 32, 32)
    assert data.class_names == tuple(f"class {number}" for number in range(kind.num_classes))
    assert data.preprocessing == Normalize(kind.mean, kind.std)


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_reads_what_torchvision_reads(kind, tmp_path, monkeypatch) -> None:
    import torchvision

    write(tmp_path, kind)
    original = getattr(torchvision.datasets, kind.__name__)
    monkeypatch.setattr(original, "_check_integrity", lambda self: True)
    monkeypatch.setattr(original, "meta", original.meta | {"md5": None})
    data = load(tmp_path, kind)
    for train, split in ((True, data.train), (False, data.test)):
        oracle = original(str(tmp_path), train=train)
        assert torch.equal(split.inputs.permute(0, 2, 3, 1), torch.from_numpy(oracle.data))
        assert split.targets.tolist() == oracle.targets
        assert list(data.class_names) == oracle.classes


def test_reads_the_pickles_of_python_2(tmp_path) -> None:
    """The published files: protocol 2, the bytes of the array a string of Python 2, numpy under its old name."""
    written = write(tmp_path, CIFAR10)
    content = written["test_batch"]
    raw = content["data"].tobytes()
    opcodes = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x06M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
        b"U\x06labels](" + b"".join(b"K" + bytes([label]) for label in content["labels"]) + b"eu."
    )
    assert np.array_equal(pickle.loads(opcodes, encoding="latin1")["data"], content["data"])  # these opcodes are right
    (tmp_path / CIFAR10.folder_name / "test_batch").write_bytes(opcodes)
    data = load(tmp_path)
    assert torch.equal(data.test.inputs.reshape(6, 3072), torch.from_numpy(content["data"]))
    assert data.test.targets.tolist() == content["labels"]


class Runs:
    """An object whose unpickling runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path) -> None:
    write(tmp_path, CIFAR10)
    mark = tmp_path / "ran"
    attack = pickle.dumps({"data": Runs(mark), "labels": [1]})
    path = tmp_path / CIFAR10.folder_name / "data_batch_3"
    path.write_bytes(attack)
    with pytest.raises(DataError, match=f"{path} is damaged: it refers to 'posix.system'"):
        load(tmp_path)
    assert not mark.exists()
    pickle.loads(attack)
    assert mark.exists()  # control: the attack works on pickle


@pytest.mark.parametrize(
    "value",
    [np.float64(1.0), Path("x"), bytearray, np.load, torch.zeros(1)],
    ids=["numpy scalar", "path", "bytearray", "numpy.load", "tensor"],
)
def test_nothing_but_arrays_is_built(value, tmp_path) -> None:
    write(tmp_path, CIFAR10)
    (tmp_path / CIFAR10.folder_name / "batches.meta").write_bytes(pickle.dumps({"label_names": value}))
    with pytest.raises(DataError, match=r"batches.meta is damaged: it refers to"):
        load(tmp_path)


def codec_attack() -> bytes:
    return b"\x80\x02}U\x04datac_codecs\nencode\nX\x01\x00\x00\x00aU\x03hex\x86Rs."


def bytes_of_a_number() -> bytes:
    return (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)R"
        b"(K\x01K\x06M\x00\x0c\x86cnumpy\ndtype\nU\x02u1\x85R\x89\x8a\x06\x00\x00\x00\x00\x00\x01tbs."
    )


def deep() -> bytes:
    return b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."


def nested_key() -> bytes:
    """A key whose hash overflows the stack of C in Python's own unpickler, which ends the process."""
    return b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns."


def encoded_often() -> bytes:
    """A text that is stored once and encoded ten thousand times: a gigabyte in a file of 200 kB."""
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000
    return b"\x80\x02]" + text + b"q\x00a(" + b"c_codecs\nencode\nh\x00U\x06latin1\x86R" * 10_000 + b"e."


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda: b"", "it is empty"),
        (lambda: pickle.dumps(part(CIFAR10, 0))[:-100], "truncated"),
        (lambda: b"<html>not found</html>", "is damaged"),
        (lambda: pickle.dumps([1, 2]), "contains no mapping"),
        (lambda: pickle.dumps({"labels": [1]}), "has no 'data' or no 'labels'"),
        (lambda: pickle.dumps({"data": b"abc", "labels": [1]}), "has no 'data' or no 'labels'"),
        (lambda: pickle.dumps(part(CIFAR10, 0, num_images=0)), "not uint8 of (0, 3072)"),
        (lambda: pickle.dumps(part(CIFAR10, 0) | {"labels": [1, 2]}), "u1 of (6, 3072), not uint8 of (2, 3072)"),
        (lambda: pickle.dumps({"data": np.zeros((1, 3072), "i8"), "labels": [1]}), "i8 of (1, 3072)"),
        (
            lambda: pickle.dumps({"data": np.asfortranarray(np.eye(2, 3072, dtype="u1")), "labels": [1, 2]}),
            "in Fortran order",
        ),
        (codec_attack, "encoding other than latin1"),
        (bytes_of_a_number, "array without bytes"),
        (deep, "is damaged"),
        (nested_key, "no 'data'"),
        (encoded_often, "encodes more text than it holds"),
    ],
)
def test_a_damaged_file_is_named(damage, what, tmp_path) -> None:
    write(tmp_path, CIFAR10)
    path = tmp_path / CIFAR10.folder_name / "data_batch_2"
    path.write_bytes(damage())
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("label", "shown"), [(10, "10"), (-1, "-1"), (2**80, "a int"), (1.0, "a float"), (True, "bool")]
)
def test_a_label_outside_the_classes_is_found(label, shown, tmp_path) -> None:
    content = write(tmp_path, CIFAR10)["test_batch"]
    content["labels"][4] = label
    path = tmp_path / CIFAR10.folder_name / "test_batch"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=f"{path}: sample 4 has the label .*{shown}; allowed: 0..9"):
        load(tmp_path)


def test_class_names_must_be_as_many_as_the_classes(tmp_path) -> None:
    write(tmp_path, CIFAR10)
    (tmp_path / CIFAR10.folder_name / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"]}))
    with pytest.raises(DataError, match="does not have 10 'label_names'"):
        load(tmp_path)


def archive(kind, members: dict[str, bytes] | None = None) -> bytes:
    packed = {f"{kind.folder_name}/{name}": pickle.dumps(content) for name, content in contents(kind).items()}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in (packed | (members or {})).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def publish(server, monkeypatch):
    """Serve an archive under the name that torchvision gives, with its checksum."""
    import torchvision

    def serve(kind, content: bytes) -> None:
        original = getattr(torchvision.datasets, kind.__name__)
        monkeypatch.setattr(original, "tgz_md5", server.serve(original.filename, content))
        monkeypatch.setattr(original, "url", f"{server.url}/{original.filename}")

    return serve


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_a_missing_archive_is_fetched_and_unpacked_once(kind, tmp_path, publish, server) -> None:
    publish(kind, archive(kind))
    first = load(tmp_path / "new" / "data", kind, download=True)
    again = load(tmp_path / "new" / "data", kind, download=False)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert len(server.requested) == 1
    folder = tmp_path / "new" / "data" / kind.folder_name
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES[kind])  # and no temporary file


def test_an_archive_that_lies_there_is_unpacked_without_a_network(tmp_path, publish, server) -> None:
    content = archive(CIFAR10)
    publish(CIFAR10, content)
    (tmp_path / CIFAR10.archive_name).write_bytes(content)
    assert len(load(tmp_path).train) == 30
    assert server.requested == []


def test_an_archive_with_another_checksum_is_refused(tmp_path) -> None:
    path = tmp_path / CIFAR10.archive_name
    path.write_bytes(archive(CIFAR10))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"{path} is damaged: the checksum is wrong .md5 {md5}, not c58f3010"):
        load(tmp_path)
    assert not (tmp_path / CIFAR10.folder_name).exists()


def test_a_file_that_went_missing_is_unpacked_again(tmp_path, publish) -> None:
    publish(CIFAR10, archive(CIFAR10))
    first = load(tmp_path, download=True)
    (tmp_path / CIFAR10.folder_name / "data_batch_4").unlink()
    assert torch.equal(load(tmp_path).train.inputs, first.train.inputs)


def test_an_archive_that_escapes_its_folder_is_refused(tmp_path, publish) -> None:
    root = tmp_path / "data"
    publish(CIFAR10, archive(CIFAR10, {f"{CIFAR10.folder_name}/../../../evil": b"x"}))
    with pytest.raises(DataError, match="outside the destination"):
        load(root, download=True)
    assert not list(tmp_path.rglob("evil"))
    assert not (root / CIFAR10.folder_name).exists()


def test_missing_files_are_listed_with_their_folder_and_their_source(tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, CIFAR100)
    message = str(caught.value)
    assert f"data.root={tmp_path} lacks files of CIFAR100" in message
    assert "data.download=true" in message
    assert f"put cifar-100-python.tar.gz into {tmp_path} (from https://www.cs.toronto.edu/~kriz)" in message
