"""What is learned is said once: its kind, the names, and all that follows from them."""

from __future__ import annotations

import torch

from nnrun.base.targets import Targets
from nnrun.core.seams import Dataset, Evaluation, ExportContext, Split


def test_what_is_learned_is_a_kind_and_names():
    targets = Targets.classes(["cat", "dog"])
    assert (targets.kind, targets.names, targets.num_outputs) == ("classes", ("cat", "dog"), 2)
    assert targets.to_plain() == {"kind": "classes", "names": ["cat", "dog"]}
    assert str(Targets.classes(map(str, range(1000)))) == "1,000 classes"


def test_the_same_classes_in_another_order_are_not_the_same_outputs():
    assert Targets.classes(["a", "b"]) == Targets.classes(("a", "b"))
    assert Targets.classes(["a", "b"]) != Targets.classes(["b", "a"])


def test_a_data_source_says_its_classes_by_name_and_plug_ins_read_them():
    split = Split(torch.zeros(2, 1), torch.tensor([0, 1]))
    dataset = Dataset(train=split, test=split, class_names=["a", "b"], preprocessing=torch.square)
    assert dataset.targets == Dataset(split, split, ("a", "b"), torch.square).targets == Targets.classes("ab")
    assert Evaluation(dataset.targets, all_is_test=True).class_names == ("a", "b")
    context = ExportContext(torch.zeros(1), dataset.targets, torch.square, "id", 1.0, torch.zeros, {})
    assert context.class_names == ("a", "b")
