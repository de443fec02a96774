"""What y is: classes, labels or values, as it is set, as it shows, or as a trained network decides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.array_targets import learned_of
from nnrun.components.data.arrays import Arrays
from nnrun.core.seams.data import Dataset, Evaluation

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
TAGS = (np.arange(120).reshape(40, 3) % 7 < 3).astype(np.uint8)
SIZES = np.random.default_rng(1).normal(5, 2, (40, 2))
AGES = np.arange(40) + 20


def read(y: np.ndarray, kind: str = "auto", **given: Any):
    return learned_of({"y": y}, kind, "natural", **given)


def load(path: Path, known: Targets | None = None, targets: str = "auto", **arrays: np.ndarray) -> Dataset:
    np.savez(path / "a.npz", x=PIXELS, **arrays)
    source = Arrays(str(path / "a.npz"), "auto", None, 0, "content", None, None, targets=targets)
    return source.load() if known is None else source.load_for(Evaluation(known, all_is_test=False))


@pytest.mark.parametrize(
    ("y", "kind", "expected"),
    [
        (np.arange(40) % 3, "auto", Targets.classes("012")),
        (np.arange(40)[:, None] % 3, "auto", Targets.classes("012")),
        (np.array(["b", "a"] * 20), "auto", Targets.classes("ab")),
        (np.arange(40) % 2 == 0, "auto", Targets.classes("01")),
        ((np.arange(40) % 3).astype(float), "auto", Targets.classes("012")),
        (TAGS, "auto", Targets.labels(["label_0", "label_1", "label_2"])),
        (TAGS.astype(bool), "auto", Targets.labels(["label_0", "label_1", "label_2"])),
        (TAGS.astype(float), "auto", Targets.labels(["label_0", "label_1", "label_2"])),
        (TAGS[:, :1], "labels", Targets.labels(["label_0"])),
        (TAGS[:, 0], "labels", Targets.labels(["label_0"])),
        (SIZES[:, 0], "auto", Targets.values()),
        (SIZES[:, :1], "auto", Targets.values()),
        (SIZES.astype(np.float16), "auto", Targets.values(["value_0", "value_1"])),
        (SIZES.astype(">f8"), "auto", Targets.values(["value_0", "value_1"])),
        (-np.arange(40.0), "auto", Targets.values()),
        (np.arange(200.0), "auto", Targets.values()),
        (AGES, "values", Targets.values()),
        (TAGS, "values", Targets.values(["value_0", "value_1", "value_2"])),
        (AGES.astype(np.uint16), "classes", Targets.classes(list(map(str, AGES)))),
    ],
)
def test_the_kind_is_as_set_or_as_the_array_shows(y: np.ndarray, kind: str, expected: Targets) -> None:
    found = read(y, kind)
    assert found.targets == expected
    values = found.values["y"]
    if expected.kind == "classes":
        assert (values.dtype, values.shape) == (torch.int64, (len(y),))
    else:
        assert values.dtype == torch.float32
        assert torch.equal(values, torch.from_numpy(y.reshape(len(y), -1).astype(np.float32)))


@pytest.mark.parametrize(
    ("y", "kind", "says"),
    [
        (np.zeros((4, 2, 2)), "auto", "y has shape (4, 2, 2); targets are (N,), or (N, K)"),
        (np.zeros(()), "auto", "y has shape (); targets are (N,)"),
        (np.zeros((4, 0)), "auto", "y has shape (4, 0): it has no column"),
        (np.zeros((0, 3)), "auto", "y has shape (0, 3): it has no labels"),
        (np.zeros(0), "auto", "y has shape (0,): it has no labels"),
        (np.array([["a", "b"]] * 4), "auto", "y has shape (4, 2) and type <U1; labels are 0 or 1 in a column each"),
        (np.array([["a", "b"]] * 4), "values", "y is <U1; values are numbers"),
        (np.array(["a", "b"]), "labels", "y is <U1; labels are numbers"),
        (np.ones((4, 2), complex), "auto", "y has shape (4, 2) and type complex128"),
        (
            np.arange(8).reshape(4, 2),
            "auto",
            "y has shape (4, 2) and integers from 0 to 7: labels are 0 or 1; for values",
        ),
        (
            np.arange(8).reshape(4, 2),
            "classes",
            "y has shape (4, 2); classes are one number or string per sample, (N,); for several columns use problem=",
        ),
        (
            np.array([[0, 1], [1, -1]]),
            "auto",
            "y: sample 1 has -1 for label_1; labels are 0 or 1; unknown labels",
        ),
        (np.array([[0, 1], [1, 2]]), "auto", "y has shape (2, 2) and integers from 0 to 2: labels are 0 or 1"),
        (
            np.array([[0, 1], [1, -1]]),
            "labels",
            "y: sample 1 has -1 for label_1; labels are 0 or 1; unknown labels",
        ),
        (
            np.array([[0, 1], [1, math.nan]]),
            "labels",
            "y: sample 1 has nan for label_1; labels are 0 or 1; unknown labels",
        ),
        (np.array([[0, 1], [0.5, 1]]), "labels", "y: sample 1 has 0.5 for label_0; labels are 0 or 1"),
        (np.array([1.5, math.nan]), "auto", "y: sample 1 is nan; values must be finite in float32: remove such"),
        (np.array([[1.5, 2], [0, -math.inf]]), "auto", "y: sample 1 has -inf for value_1; values must be finite"),
        (np.array([1.5, 1e39]), "auto", "y: sample 1 is 1e+39; values must be finite in float32"),
        (np.array([2.5, 1]), "classes", "y: sample 0 has the label 2.5, which is not a whole number"),
    ],
)
def test_targets_that_are_wrong_are_named(y: np.ndarray, kind: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        read(y, kind)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("y", "kind", "note"),
    [
        (np.eye(3, dtype=int)[[0, 1, 2, 1]], "auto", "every row of y has exactly one 1: if no sample can have several"),
        (
            (np.arange(40) % 3).astype(float),
            "auto",
            "y contains floats that are whole numbers, read as classes",
        ),
        (TAGS.astype(float), "auto", "y contains floats of 0 and 1, read as labels; to read them as values"),
        (1.7e9 + np.arange(40.0), "values", "y: float32 rounds values by more than 0.1 % of their standard deviation"),
    ],
)
def test_what_may_be_meant_otherwise_is_said(y: np.ndarray, kind: str, note: str) -> None:
    assert [note in said for said in read(y, kind).notes] == [True]


@pytest.mark.parametrize("y", [TAGS, SIZES, np.arange(40) % 3])
def test_of_what_is_plain_nothing_is_said(y: np.ndarray) -> None:
    assert read(y).notes == ()


def test_the_file_may_say_what_the_columns_are(tmp_path: Path) -> None:
    data = load(tmp_path, y=TAGS, names=np.array(["cat", "dog", "caf\u00e9"]))
    assert data.targets == Targets.labels(["cat", "dog", "caf\u00e9"])
    data = load(tmp_path, y=SIZES, target_names=np.array([b"height", b"width"]), names=np.array(["not", "these"]))
    assert data.targets == Targets.values(["height", "width"])
    data = load(tmp_path, y=SIZES, names=np.array([f"sample {i}" for i in range(40)]))
    assert data.targets == Targets.values(["value_0", "value_1"])
    assert data.findings.notes == (f"the 40 names of columns are ignored: {tmp_path}/a.npz[y] has 2 columns",)
    assert load(tmp_path, y=np.arange(40) % 2, names=np.array(["no", "yes"])).targets == Targets.classes("01")
    with pytest.raises(DataError, match="two columns have the same name, among a, a"):
        load(tmp_path, y=SIZES, names=np.array(["a", "a"]))


def test_labels_and_values_are_held_out_each_with_its_share(tmp_path: Path) -> None:
    data = load(tmp_path, y=SIZES)
    assert (data.train.targets.shape[1], len(data.train) + len(data.test)) == (2, 40)
    assert 4 <= len(data.test) <= 12
    both = torch.cat([data.train.targets, data.test.targets])
    torch.testing.assert_close(both.sum(0), torch.from_numpy(SIZES.sum(0)).float())
    again = load(tmp_path, y=SIZES)
    assert again.fingerprint == data.fingerprint
    assert load(tmp_path, y=SIZES + 1).fingerprint != data.fingerprint
    assert load(tmp_path, y=TAGS).fingerprint != load(tmp_path, y=TAGS, targets="values").fingerprint


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (1e9 + np.arange(40) / 4, "if they differ only after the seventh digit, which float32 does not keep, subtract"),
        (np.full(40, 2.5), "all training samples have the same values, 2.5: there is nothing to learn"),
        (np.zeros((40, 3), int), "all training samples have the same labels, 0, 0, 0: there is nothing to learn"),
    ],
)
def test_targets_that_are_all_the_same_are_refused(y: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        load(tmp_path, y=y)
    assert says in str(raised.value)


def test_parts_have_the_same_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x_train=PIXELS, y_train=SIZES, x_test=PIXELS, y_test=SIZES[:, 0])
    with pytest.raises(DataError, match=r"y_test\] has 1 columns, but .*y_train\] has 2"):
        Arrays(str(tmp_path / "b.npz"), "auto", None, 0, "content", None, None).load()


def test_a_trained_network_decides_what_the_targets_are(tmp_path: Path) -> None:
    """Whole numbers that a network has learned as values are values, and its names are kept."""
    ages = Targets.values(["age"])
    data = load(tmp_path, ages, y=AGES)
    assert data.targets == ages
    assert data.test.targets.dtype == torch.float32
    assert load(tmp_path, ages, y=AGES, names=np.array(["age"])).targets == ages
    assert load(tmp_path, Targets.classes("012"), y=(np.arange(40) % 3).astype(float)).targets == Targets.classes("012")
    for known, given, says in (
        (
            ages,
            {"y": AGES, "names": np.array(["height"])},
            "has 1 values, height; the network has learned 1 value, age",
        ),
        (Targets.values("ab"), {"y": AGES}, "has 1 values; the network has learned 2 values, a, b"),
        (Targets.labels("abc"), {"y": SIZES}, "has 2 labels; the network has learned 3 labels, a, b, c"),
        (ages, {"y": AGES, "targets": "classes"}, "data.targets=classes, but the network has learned 1 value"),
    ):
        with pytest.raises(DataError) as raised:
            load(tmp_path, known, **given)  # type: ignore[arg-type]
        assert says in str(raised.value)
