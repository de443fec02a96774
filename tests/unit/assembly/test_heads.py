"""The classifier head of weights from elsewhere: kept, put in order, new for other classes, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnrun.assembly.heads import Head, replace_head
from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.components.models.cnn import CNN
from nnrun.core.transfer.freezing import Freezing

TRAINS = Freezing()
CLASSES = Targets.classes(("cat", "dog", "fox"))


def test_only_a_head_for_other_classes_is_replaced() -> None:
    ours, theirs = CNN((1, 12, 12), 3, [2, 4], 5), CNN((1, 12, 12), 7, [2, 4], 5).state_dict()
    weights = dict(theirs)
    assert replace_head(weights, ours, None, CLASSES) == ["the classifier head is new: 3 classes here, 7 in the file"]
    assert torch.equal(weights["head.weight"], ours.head.weight)
    same = CNN((1, 12, 12), 3, [2, 4], 5).state_dict()
    assert replace_head(dict(same), ours, None, CLASSES) == []
    without = {name: tensor for name, tensor in same.items() if not name.startswith("head.")}
    (note,) = replace_head(without, ours, None, CLASSES)
    assert note == "the classifier head is new: 3 classes here, none in the file"
    wider = CNN((1, 12, 12), 7, [2, 4], 6).state_dict()
    assert replace_head(dict(wider), ours, None, CLASSES) == [], "another network: loading says so"
    odd = {
        "a bias of 4": theirs | {"head.bias": torch.ones(4)},
        "no bias": {k: theirs[k] for k in theirs if k != "head.bias"},
    }
    odd["a bias alone"] = same | {"head.bias": torch.ones(7)}
    assert [replace_head(dict(weights), ours, None, CLASSES) for weights in odd.values()] == [[]] * 3
    strange = {f"other.{name}": tensor for name, tensor in theirs.items()}
    assert replace_head(strange, ours, None, CLASSES) == [] and "head.weight" not in strange


def fit(theirs, network: nn.Module, weights: dict, freezing: Freezing = TRAINS, name: str | None = None) -> list[str]:
    return Head(name, freezing, CLASSES).fit(weights, network, None if theirs is None else Targets.classes(theirs))


def test_a_head_for_other_classes_of_the_same_number_is_new() -> None:
    ours, theirs = CNN((1, 12, 12), 3, [2, 4], 5), CNN((1, 12, 12), 3, [2, 4], 5).state_dict()
    weights = dict(theirs)
    (note,) = fit(("cat", "dog", "wolf"), ours, weights)
    assert note == "the classifier head is new: other classes here (fox; there wolf)"
    assert torch.equal(weights["head.weight"], ours.head.weight) and torch.equal(weights["head.bias"], ours.head.bias)
    assert all(weights[name] is theirs[name] for name in theirs if not name.startswith("head."))
    weights = dict(theirs)
    assert fit(CLASSES.names, ours, weights) == [] and weights == theirs, "the negative control: the same classes"
    assert fit(None, ours, weights)[0].startswith("the file names no classes") and weights == theirs


def test_a_head_for_the_same_classes_in_another_order_is_put_in_order() -> None:
    ours, theirs = CNN((1, 12, 12), 3, [2, 4], 5), CNN((1, 12, 12), 3, [2, 4], 5)
    weights = theirs.state_dict()
    (note,) = fit(("fox", "cat", "dog"), ours, weights)
    assert "in another order" in note
    ours.load_state_dict(weights)
    samples = torch.randn(4, 1, 12, 12)
    torch.testing.assert_close(ours(samples), theirs(samples)[:, [1, 2, 0]])


def test_a_new_head_that_never_trains_is_refused_and_one_that_is_not_found_must_be_named() -> None:
    ours = CNN((1, 12, 12), 3, [2, 4], 5)
    frozen = Freezing(frozenset({"head.weight", "head.bias"}))
    for theirs, weights in (
        (("cat", "dog", "wolf"), ours.state_dict()),
        (None, CNN((1, 12, 12), 7, [2, 4], 5).state_dict()),
    ):
        with pytest.raises(ConfigError, match=r"transfer\.freeze freezes the classifier head, which is new"):
            fit(theirs, ours, dict(weights), frozen)
        fit(theirs, ours, dict(weights), Freezing(frozen.names, until_epoch=2))
    fit(("fox", "cat", "dog"), ours, ours.state_dict(), frozen)
    unseen = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5), nn.AdaptiveAvgPool1d(3))
    with pytest.raises(ConfigError, match=r"the weights are for other classes .*transfer\.head=NAME"):
        fit(("a", "b", "c"), unseen, unseen.state_dict())
