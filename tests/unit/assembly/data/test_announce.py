"""What is said of the data before a run begins: classes and labels of very different sizes, and the word that helps."""

from __future__ import annotations

import pytest
import torch

from nnrun.assembly.data.announce import imbalance
from nnrun.assembly.data.opened import Opened
from nnrun.base.targets import Targets
from nnrun.cli import compose
from nnrun.components.data.normalize import Normalize
from nnrun.core.seams.data import Split


def opened(targets: Targets, values: torch.Tensor) -> Opened:
    split = Split(torch.zeros(len(values), 1, 2, 2, dtype=torch.uint8), values)
    return Opened(split, None, split, targets, Normalize([0.5], [0.5]), (1, 2, 2))


def of_classes(*sizes: int) -> Opened:
    names = ("ant", "bee", "cat")[: len(sizes)]
    return opened(Targets.classes(names), torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)))


def loss(*words: str) -> dict:
    return compose(["data=folder", *words]).resolved()["loss"]


def test_classes_above_3_to_1_are_said_with_the_word_of_their_loss() -> None:
    said = "imbalanced classes: class bee has 31 training samples and ant 10; loss.{}=balanced gives them equal weight"
    assert imbalance(of_classes(10, 31, 12), loss()) == said.format("weight")
    assert imbalance(of_classes(10, 31, 12), loss("loss=focal")) == said.format("alpha")


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((10, 30, 12), ()),
        ((10, 31, 0), ()),
        ((10, 31), ("loss.weight=balanced",)),
        ((10, 31), ("loss.weight=[1,2]",)),
        ((10, 31), ("loss=focal", "loss.alpha=balanced")),
        ((10, 31), ("loss._target_=mine.Mine",)),
        ((10, 31), ("problem=regression", "loss=mse")),
    ],
)
def test_nothing_is_said_of_less_of_what_is_weighed_and_of_what_cannot_be(sizes, words) -> None:
    assert imbalance(of_classes(*sizes), loss(*words)) == ""


def test_labels_count_by_the_samples_without_them_and_values_never() -> None:
    values = torch.zeros(40, 2)
    values[:20, 0], values[:9, 1] = 1, 1
    labels, bce = opened(Targets.labels(["sea", "sky"]), values), loss("problem=multilabel", "loss=bce")
    assert imbalance(labels, bce) == (
        "imbalanced labels: 9 training samples have the label sky and 31 do not; "
        "loss.pos_weight=balanced gives them equal weight"
    )
    assert imbalance(labels, {**bce, "pos_weight": "balanced"}) == ""
    values[:10, 1] = 1
    assert imbalance(opened(labels.targets, values), bce) == ""
    assert imbalance(opened(Targets.values(["a", "b"]), values), loss("problem=regression", "loss=mse")) == ""
