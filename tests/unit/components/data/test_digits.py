from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.components.data.digits import FILE, Digits, enlarge, read_digits
from nnrun.core.splits import stratified_indices


def test_reads_what_scikit_learn_reads() -> None:
    from sklearn.datasets import load_digits

    oracle = load_digits()
    images, targets = read_digits(FILE)
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(oracle.images).to(torch.uint8))
    assert torch.equal(targets, torch.from_numpy(oracle.target).to(torch.int64))


def test_is_enlarged_as_torch_enlarges_and_padded() -> None:
    images, _ = read_digits(FILE)
    as_255 = images[:, None].to(torch.float64) * 255 / 16
    expected = torch.nn.functional.interpolate(as_255, size=20, mode="bilinear")

    enlarged = enlarge(images)

    assert enlarged.shape == (1797, 1, 28, 28)
    assert enlarged.dtype == torch.uint8
    assert (enlarged[:, :, 4:24, 4:24] - expected).abs().max() <= 0.5 + 1e-9
    assert enlarged.sum() == enlarged[:, :, 4:24, 4:24].sum()  # the margin is empty
    assert enlarged.max() == 255


def test_splits_are_complete_stratified_and_disjoint() -> None:
    data = Digits().load()
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.in_shape == (1, 28, 28)
    assert data.class_names == tuple("0123456789")
    assert data.train.targets.dtype == torch.int64
    per_class = data.train.targets.bincount() + data.test.targets.bincount()
    share = per_class * 360 / 1797
    assert ((data.test.targets.bincount() - share).abs() < 1).all()


def test_the_test_split_is_the_same_in_every_run() -> None:
    """Control: the seed of the process has no say; another split has other bytes."""
    torch.manual_seed(1)
    first = Digits().load()
    torch.manual_seed(2)
    second = Digits().load()
    assert torch.equal(first.test.inputs, second.test.inputs)

    # Fixed over machines and versions of torch too: published accuracies are of these samples.
    _, test = stratified_indices(read_digits(FILE)[1], 360, torch.Generator().manual_seed(0))
    assert hashlib.sha256(str(test.tolist()).encode()).hexdigest()[:16] == "35d3ccccc4e08ce3"
    pixels = first.test.inputs.numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "7fd03e4b93efe636"


def test_mean_and_std_are_those_of_the_training_split() -> None:
    data = Digits().load()
    normalised = data.preprocessing(data.train.inputs)
    assert normalised.mean().abs() < 1e-3
    assert (normalised.std() - 1).abs() < 1e-3
    pixels = data.train.inputs / 255
    assert data.preprocessing.mean[0] == pytest.approx(float(pixels.mean()), abs=1e-3)
    assert data.preprocessing.std[0] == pytest.approx(float(pixels.std()), abs=1e-3)


def test_the_licence_lies_beside_the_file() -> None:
    assert "CC BY 4.0" in (FILE.parent / "LICENSE-digits.txt").read_text()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"1,2,3\n"), gzip.compress(b"a,b\n"), gzip.compress(b"1\n" * 9)[:-9]],
    ids=["empty", "text", "short", "words", "truncated"],
)
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_digits(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="install nnrun again"):
        read_digits(tmp_path / "digits.csv.gz")
