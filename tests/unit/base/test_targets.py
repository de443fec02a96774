"""What a network learns is defined in one place: its kind, the names, and all that follows from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nnrun.api import Dataset, Evaluation, ExportContext, Split
from nnrun.base.targets import Targets
from nnrun.components.problems.classification import Classification


def test_what_is_learned_is_a_kind_and_names():
    targets = Targets.classes(["cat", "dog"])
    assert (targets.kind, targets.names, targets.num_outputs) == ("classes", ("cat", "dog"), 2)
    assert targets.to_plain() == {"kind": "classes", "names": ["cat", "dog"]}
    assert str(Targets.classes(map(str, range(1000)))) == "1,000 classes"


def test_labels_and_values_are_targets_of_other_kinds():
    assert Targets.labels(["cat", "dog"]).to_plain() == {"kind": "labels", "names": ["cat", "dog"]}
    assert Targets.values() == Targets("values", ("value",))
    assert [str(of) for of in (Targets.labels("ab"), Targets.values("ab"), Targets.values())] == [
        "2 labels",
        "2 values",
        "1 value",
    ]
    assert Targets.labels("ab") != Targets.classes("ab") != Targets.values("ab")


def test_the_same_classes_in_another_order_are_not_the_same_outputs():
    assert Targets.classes(["a", "b"]) == Targets.classes(("a", "b"))
    assert Targets.classes(["a", "b"]) != Targets.classes(["b", "a"])


def test_a_data_source_says_its_classes_by_name_and_plug_ins_read_them():
    split = Split(torch.zeros(2, 1), torch.tensor([0, 1]))
    dataset = Dataset(train=split, test=split, class_names=["a", "b"], preprocessing=torch.square)
    assert dataset.targets == Dataset(split, split, ("a", "b"), torch.square).targets == Targets.classes("ab")
    assert replace(dataset, class_names=dataset.class_names[:1]).targets == Targets.classes("a")
    assert Evaluation(dataset.targets, all_is_test=True).class_names == ("a", "b")
    context = ExportContext(torch.zeros(1), Classification(dataset.targets), torch.square, "id", 1.0, torch.zeros, {})
    assert context.class_names == ("a", "b")


def test_a_data_source_says_what_its_targets_are_where_they_are_no_classes():
    split = Split(torch.zeros(2, 1), torch.zeros(2, 2))
    dataset = Dataset(train=split, test=split, targets=Targets.values("xy"), preprocessing=torch.square, facts={"n": 3})
    assert (dataset.targets, dataset.facts) == (Targets.values("xy"), {"n": 3})
    assert replace(dataset, facts={}).targets == Targets.values("xy")
    for lacks, given in (("targets", {"preprocessing": torch.square}), ("preprocessing", {"class_names": "ab"})):
        with pytest.raises(TypeError, match=f"a Dataset needs {lacks}"):
            Dataset(split, split, **given)
