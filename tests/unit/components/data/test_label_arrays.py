"""Labels in arrays become the classes, and are refused in the words, that they would be in lists."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data import label_arrays
from nnrun.components.data.label_arrays import classes_in
from nnrun.components.data.labels import classes_of, numbers_among

DRAWN = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def in_small_parts(monkeypatch):
    monkeypatch.setattr(label_arrays, "CHUNK_SAMPLES", 7)


@pytest.mark.parametrize(
    "labels",
    [
        DRAWN.integers(0, 10, 50),
        DRAWN.integers(0, 3, 50).astype(np.uint8),
        DRAWN.integers(0, 2, 50).astype(bool),
        DRAWN.integers(0, 5, 50) * 10**9,
        DRAWN.integers(0, 4, 50).astype(np.float16),
        DRAWN.choice([3.0, 1e15, 0.0], 50),
        DRAWN.choice([2**63, 2**64 - 1], 50).astype(np.uint64),
        DRAWN.choice(["b10", "b2", "caf\u00e9", "cafe\u0301"], 50),
        DRAWN.choice([b"ab", b"c"], 50),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_arrays_become_the_classes_that_lists_become(labels):
    given = {"y_train": labels, "y_test": labels[::3]}
    lists = {name: array.tolist() for name, array in given.items()}
    of_lists, expected = classes_of(lists, "y_train")
    targets, numbers = classes_in(given, partial(classes_of, first="y_train"))
    assert targets == of_lists
    assert {name: of.tolist() for name, of in numbers.items()} == {name: of.tolist() for name, of in expected.items()}
    _, known = classes_in(given, lambda of: (targets, numbers_among(targets, of)))
    assert {name: of.tolist() for name, of in known.items()} == {name: of.tolist() for name, of in expected.items()}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, -1], "y: sample 22 has the label -1; labels start at 0"),
        ([0.0, 1.0, 0.5], "y: sample 22 has the label 0.5, which is not a whole number"),
        ([0.0, 1.0, np.nan], "y: sample 22 has the label nan, which is not a whole number"),
        ([0.0, 1.0, np.inf], "y: sample 22 has the label inf"),
        (["\x1b", "b", r"\x1b"], "two labels differ only in characters that no file can store"),
        ([0, 1 + 1j, 2], "label .* not a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_the_sample_as_of_a_list(labels, words):
    array = np.array(labels[:2] * 11 + labels[2:])
    with pytest.raises(DataError, match=words) as of_array:
        classes_in({"y": array}, partial(classes_of, first="y"))
    with pytest.raises(DataError) as of_list:
        classes_of({"y": array.tolist()}, "y")
    assert of_array.value.messages == of_list.value.messages


def test_a_class_that_the_other_part_lacks_is_said_with_the_sample():
    given = {"y_train": np.array([0, 1] * 9), "y_test": np.array([0] * 15 + [7])}
    with pytest.raises(DataError, match="y_test: sample 15 has the label 7, which is not a class: y_train has 0, 1"):
        classes_in(given, partial(classes_of, first="y_train"))
    known = Targets.classes(("0", "1"))
    with pytest.raises(DataError, match="y_test: sample 15 has the label '7', which is not a class of the network"):
        classes_in(given, lambda of: (known, numbers_among(known, of)))


def test_each_distinct_label_is_looked_at_once():
    """Negative control: as lists, all labels are handed over."""
    handed: list[int] = []

    def counted(labels):
        handed.append(sum(map(len, labels.values())))
        return classes_of(labels, "y")

    classes_in({"y": np.tile(["a", "b", "c"], 1000)}, counted)
    classes_in({"y": np.tile([5, 9], 1000)}, counted)
    assert handed == [3, 2]
