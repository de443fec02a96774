"""Arrays: every layout and type comes out as the same pictures, mapped where they have a file of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data import arrays
from nnrun.components.data.array_files import Array
from nnrun.components.data.arrays import Arrays, open_pictures
from nnrun.components.data.labels import classes_of, distinct, numbers_among
from nnrun.components.data.normalize import Normalize, Standardize
from nnrun.components.data.sample_stats import Measures
from nnrun.core.lazy_samples import Stored
from support.pictures import COUNTED

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(40) % 4


def load(root: Path, **changes):
    settings = {
        "layout": "auto",
        "test_fraction": None,
        "split_seed": 0,
        "split_by": "position",
        "mean": None,
        "std": None,
    } | changes
    return Arrays(str(root), **settings).load()


@pytest.mark.parametrize(
    ("array", "layout", "expected"),
    [
        (PIXELS, "auto", PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), "auto", PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), "NHWC", PIXELS),
        (PIXELS[:, 0], "auto", PIXELS[:, :1]),
        (np.asfortranarray(PIXELS), "auto", PIXELS),
        (PIXELS.astype(np.int64), "auto", PIXELS),
        (PIXELS > 127, "auto", (PIXELS > 127).astype(np.uint8)),
        (PIXELS / 7, "auto", (PIXELS / 7).astype(np.float32)),
        ((PIXELS / 8).astype(">f4"), "auto", (PIXELS / 8).astype(np.float32)),
        ((PIXELS / 8).astype(np.float16), "auto", (PIXELS / 8).astype(np.float16).astype(np.float32)),
    ],
)
def test_any_layout_and_type_comes_out_as_the_same_pictures(array, layout, expected, tmp_path):
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "y.npy", LABELS)
    found = open_pictures(Array(tmp_path / "x.npy"), layout)
    assert torch.equal(found, torch.from_numpy(np.ascontiguousarray(expected)))
    data = load(tmp_path, layout=layout)
    both = torch.cat([data.train.inputs.loaded(), data.test.inputs.loaded()])
    assert both.sum(dtype=torch.float64).item() == pytest.approx(expected.astype(np.float64).sum())
    kind = Normalize if expected.dtype == np.uint8 else Standardize
    assert type(data.preprocessing) is kind
    standard = data.preprocessing(data.train.inputs.loaded())
    assert standard.dtype == torch.float32
    torch.testing.assert_close(standard.mean(dim=(0, 2, 3)), torch.zeros(standard.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.std(dim=(0, 2, 3)), torch.ones(standard.shape[1]), atol=1e-2, rtol=0)


def test_files_of_their_own_are_mapped_and_measured_once(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", PIXELS)
    np.save(tmp_path / "y.npy", LABELS)
    first = load(tmp_path)
    assert isinstance(first.train.inputs, Stored)

    def measured_again(_):
        raise AssertionError

    monkeypatch.setattr(Measures, "of", measured_again)
    assert load(tmp_path).fingerprint == first.fingerprint
    np.save(tmp_path / "x.npy", PIXELS // 2)
    with pytest.raises(AssertionError):
        load(tmp_path)


def test_another_content_of_the_same_length_and_time_is_measured_again(tmp_path):
    """With the mean that was kept of the old content, the new one would be normalized wrongly."""
    np.save(tmp_path / "x.npy", PIXELS)
    np.save(tmp_path / "y.npy", LABELS)
    old, before = load(tmp_path), (tmp_path / "x.npy").stat()
    np.save(tmp_path / "x.npy", PIXELS // 2)
    os.utime(tmp_path / "x.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (tmp_path / "x.npy").stat().st_size == before.st_size
    new = load(tmp_path)
    assert new.preprocessing.mean[0] == pytest.approx(old.preprocessing.mean[0] / 2, rel=0.01)
    assert new.fingerprint != old.fingerprint


def test_processes_measure_many_samples_as_one_measures_few(tmp_path, monkeypatch):
    samples = np.random.default_rng(1).normal(size=(300, 4, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", samples)
    np.save(tmp_path / "y.npy", np.arange(300) % 3)
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 1000)
    alone = load(tmp_path, split_by="content")
    monkeypatch.setattr(arrays, "_SAMPLES_FOR_PROCESSES", 100)
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "empty"))
    together = load(tmp_path, split_by="content")
    assert together.fingerprint == alone.fingerprint
    assert together.preprocessing == alone.preprocessing
    samples[207, 1, 1], samples[290] = np.nan, np.inf
    np.save(tmp_path / "x.npy", samples)
    with pytest.raises(DataError, match=r"x\.npy: sample 207 contains NaN or infinity"):
        load(tmp_path)


def test_an_archive_that_is_not_compressed_is_mapped_and_any_damage_found(tmp_path):
    """Negative control: a compressed one is no map, and gives the same samples."""
    archive, packed = tmp_path / "a.npz", tmp_path / "packed.npz"
    np.savez(archive, x=PIXELS, y=LABELS)
    np.savez_compressed(packed, x=PIXELS, y=LABELS)
    mapped, read = Array(archive, "x").open(), Array(packed, "x").open()
    assert isinstance(mapped, np.memmap)
    assert not isinstance(read, np.memmap)
    assert np.array_equal(mapped, PIXELS)
    assert load(archive).fingerprint == load(packed).fingerprint
    content = bytearray(archive.read_bytes())
    content[content.index(PIXELS.tobytes()[:50]) + 20] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz\[x\] is damaged or truncated: Bad CRC-32"):
        load(archive)


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("X_{}", "Y_{}"), ("{}_images", "{}_labels")])
def test_the_names_that_people_use_are_known(names, tmp_path):
    arrays = {}
    for part, size in (("train", 20), ("val", 8), ("test", 12)):
        arrays |= {names[0].format(part): PIXELS[:size], names[1].format(part): LABELS[:size]}
    np.savez(tmp_path / "a.npz", **arrays)
    data = load(tmp_path / "a.npz")
    assert [len(split) for split in (data.train, data.valid, data.test)] == [20, 8, 12]
    assert data.findings.facts == {"in_train_and_test": 12, "in_train_and_valid": 8}


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([3, 7, 3], ("3", "7"), [0, 1, 0]),
        ([10, 9, 100], ("9", "10", "100"), [1, 0, 2]),
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([b"b", b"a"], ("a", "b"), [1, 0]),
        ([1.0, 0.0], ("0", "1"), [1, 0]),
        ([True, False], ("0", "1"), [1, 0]),
        ([np.int32(1), torch.tensor(0)], ("0", "1"), [1, 0]),
    ],
)
def test_labels_of_any_kind_become_the_numbers_of_classes(labels, names, expected):
    found, numbers = classes_of({"y": labels}, "y")
    assert (found.names, numbers["y"].tolist()) == (names, expected)


def test_a_text_in_two_unicode_forms_is_one_class():
    """An older run, whose order is that of texts, keeps the two that it was trained with."""
    labels = {"y.npy": ["caf\u00e9", "cafe\u0301", "tea", "caf\u00e9"]}
    found, numbers = classes_of(labels, "y.npy")
    assert (found.names, numbers["y.npy"].tolist()) == (("caf\u00e9", "tea"), [0, 0, 1, 0])
    assert classes_of(labels, "y.npy", order="text")[0].num_outputs == 3
    places = numbers_among(Targets.classes(("tea", "cafe\u0301")), {"y.npy": ["caf\u00e9", "tea"]})
    assert places["y.npy"].tolist() == [1, 0], "a network knows its class in any form"


def test_names_that_are_given_are_what_numbers_count_in_and_texts_name():
    names = ("ant", "bee", "cat")
    assert classes_of({"y": [2, 0]}, "y", names)[1]["y"].tolist() == [2, 0]
    assert classes_of({"y": ["cat", "ant"]}, "y", names)[1]["y"].tolist() == [2, 0]
    with pytest.raises(DataError, match="sample 1 has the label 3, which is not a class: the classes are 0, 1, 2"):
        classes_of({"y": [0, 3]}, "y", names)
    with pytest.raises(DataError, match="some labels are numbers and some are strings"):
        classes_of({"y": [0, "ant"]}, "y", names)


def test_labels_that_are_texts_are_in_the_order_that_people_count_in():
    labels = {"y": ["10", "2", "1", "b10", "b2", "2"]}
    found, numbers = classes_of(labels, "y")
    assert (found.names, numbers["y"].tolist()) == (COUNTED, [2, 1, 0, 4, 3, 1])
    assert classes_of(labels, "y", order="text")[0].names == ("1", "10", "2", "b10", "b2"), "as before the setting"
    long = ["9" * 5000, "10" * 2500, "0009"]
    assert classes_of({"y": long}, "y")[0].names == ("0009", long[1], long[0]), "no number is too long"


def test_labels_that_no_file_can_hold_are_escaped_and_two_that_become_one_are_refused():
    found, numbers = classes_of({"y": ["\x1b[2J", "${x}", "\udc80"]}, "y")
    assert found.names == ("${x}", r"\udc80", r"\x1b[2J")
    assert numbers["y"].tolist() == [2, 0, 1]
    with pytest.raises(DataError, match="two labels differ only in characters"):
        classes_of({"y": ["\x1b", r"\x1b"]}, "y")


def test_classes_that_a_list_names_alike_stay_two_in_training_and_when_measured():
    names = ("crane", "hen", "crane")  # as ImageNet's list in torchvision: a bird, and a machine
    found, numbers = classes_of({"y": [0, 2, 1]}, "y", names)
    assert found.names == ("crane (0)", "hen", "crane (2)")
    # By the name alone both were the last of them.
    assert numbers_among(found, {"y": [0, 2, 1]}, names)["y"].tolist() == numbers["y"].tolist() == [0, 2, 1]
    of_0_1_0 = Targets.classes(names)  # its runs keep their list
    assert numbers_among(of_0_1_0, {"y": [0, 2, 1]}, names)["y"].tolist() == [0, 2, 1]
    with pytest.raises(DataError, match="the class crane is listed more than once, and labels refer to it"):
        classes_of({"y": ["hen", "crane"]}, "y", names)
    assert distinct(("a", "a", "a (1)")) == ("a (0)", "a (1) (1)", "a (1)")
