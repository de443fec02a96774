"""What a kind of targets means for tensors: which values there may be, and what a drawn part has its share of."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.targets import Targets
from nnrun.core.target_values import class_counts, fault_in, strata

THREE = Targets.classes("abc")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (torch.tensor([0, 2, 1]), None),
        (torch.tensor([0.0, 1.0]), "targets of the type torch.float32; they must be torch.int64"),
        (torch.tensor([0, -1]), "the label -1; there are 3 classes, from 0"),
        (torch.tensor([3, 0]), "the label 3; there are 3 classes, from 0"),
    ],
)
def test_a_class_is_a_whole_number_below_the_number_of_classes(values, fault):
    assert fault_in(values, THREE) == fault


def test_classes_are_counted_those_without_samples_too_and_each_gives_its_share():
    values = torch.tensor([1, 1, 0])
    assert class_counts(values, THREE) == [1, 2, 0]
    assert torch.equal(strata(values, THREE), values)
