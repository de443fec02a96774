"""What a kind of targets means for tensors: which values are valid, and how samples are stratified."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnrun.base.targets import Targets
from nnrun.core.splits import Drawing, stratified_indices
from nnrun.core.target_values import fault_in, in_words, strata, target_counts

THREE = Targets.classes("abc")
BOTH = Targets.labels(["cat", "dog"])
SIZES = Targets.values(["height", "width"])
ONE = Targets.values()


@pytest.mark.parametrize(
    ("values", "targets", "fault"),
    [
        (torch.tensor([0, 2, 1]), THREE, None),
        (torch.tensor([0.0, 1.0]), THREE, "targets of type torch.float32; the type must be torch.int64"),
        (torch.tensor([0, -1]), THREE, "the label -1; there are 3 classes, numbered from 0"),
        (torch.tensor([3, 0]), THREE, "the label 3; there are 3 classes, numbered from 0"),
        (torch.tensor([[0], [1]]), THREE, "targets of shape (2, 1); for 3 classes the shape must be (2,)"),
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), BOTH, None),
        (torch.tensor([[0, 1]]), BOTH, "targets of type torch.int64; the type must be torch.float32"),
        (torch.tensor([0.0, 1.0]), BOTH, "targets of shape (2,); for 2 labels the shape must be (2, 2)"),
        (torch.zeros(2, 3), BOTH, "targets of shape (2, 3); for 2 labels the shape must be (2, 2)"),
        (torch.tensor([[0, 1], [0, -1.0]]), BOTH, "the target -1 for dog in sample 1; labels must be 0 or 1"),
        (torch.tensor([[0.5, 1]]), BOTH, "the target 0.5 for cat in sample 0; labels must be 0 or 1"),
        (torch.tensor([[math.nan, 1]]), BOTH, "the target nan for cat in sample 0; labels must be 0 or 1"),
        (torch.tensor([[-3.5, 1e30]]), SIZES, None),
        (torch.tensor([[1, 2], [math.inf, 0]]), SIZES, "the target inf for height in sample 1; values must be finite"),
        (torch.tensor([[1, math.nan]]), SIZES, "the target nan for width in sample 0; values must be finite"),
        (torch.zeros(2, 0), Targets.labels([]), "labels without a name, so that there is nothing to learn"),
        (torch.tensor([1.0]), ONE, "targets of shape (1,); for 1 value the shape must be (1, 1)"),
        (
            torch.tensor([[1.0]], dtype=torch.float64),
            ONE,
            "targets of type torch.float64; the type must be torch.float32",
        ),
    ],
)
def test_a_target_has_the_form_and_the_values_of_its_kind(values: Tensor, targets: Targets, fault: str | None) -> None:
    assert fault_in(values, targets) == fault


def test_classes_are_counted_those_without_samples_too_and_each_gives_its_share():
    values = torch.tensor([1, 1, 0])
    assert target_counts(values, THREE) == [1, 2, 0]
    assert torch.equal(strata(values, THREE), values)


def test_labels_are_counted_each_for_itself_and_what_all_samples_have_is_not_counted():
    assert target_counts(torch.tensor([[1.0, 1], [1, 0], [0, 0]]), BOTH) == [2, 1]
    assert target_counts(torch.tensor([[1.0, 1]]), SIZES) == []


def test_a_sample_belongs_to_the_rarest_label_that_it_has():
    values = torch.tensor([[1.0, 0], [1, 1], [0, 0], [1, 0], [0, 1]])
    assert strata(values, BOTH).tolist() == [0, 1, 2, 0, 1]


def test_a_drawn_part_has_its_share_of_a_label_that_few_samples_have():
    """Negative control: with all samples in one stratum some draws have none."""
    values = torch.zeros(400, 2)
    values[:, 0], values[:8, 1] = 1, 1
    seeds = range(20)

    def rare(strata: Tensor) -> set[int]:
        drawn = [stratified_indices(strata, 100, torch.Generator().manual_seed(seed))[1] for seed in seeds]
        return {int(values[held_out, 1].sum()) for held_out in drawn}

    assert rare(strata(values, BOTH)) == {2}
    assert {0, 4} & rare(torch.zeros(400, dtype=torch.int64))


def deciles(values: Tensor, held_out: Tensor) -> list[float]:
    """Return which share of each tenth of the values, by size, is held out."""
    is_held_out = torch.zeros(len(values)).index_fill_(0, held_out, 1)
    return [part.mean().item() for part in is_held_out[values.argsort()].chunk(10)]


@pytest.mark.parametrize("split_by", ["position", "content"])
@pytest.mark.parametrize("make", [torch.arange, lambda n: torch.randn(n).exp() ** 3, lambda n: torch.arange(n) // 7])
def test_a_part_that_is_drawn_of_values_is_spread_evenly_over_them(split_by: str, make) -> None:
    """Each tenth gives its share. Negative control: drawing the lowest values does not do that."""
    torch.manual_seed(0)
    values = make(2000)[torch.randperm(2000)].float()
    digests = torch.randint(-(2**62), 2**62, (2000,))
    drawing = Drawing(split_by, 0, 0)
    _, held_out = drawing.hold_out(strata(values[:, None], ONE), lambda: digests, 0.2)
    tolerance = 0.06 if split_by == "position" else 0.1

    def is_even(indices: Tensor) -> bool:
        return all(abs(share - 0.2) < tolerance for share in deciles(values, indices))

    assert is_even(held_out)
    assert not is_even(values.argsort()[:400])


def test_few_samples_of_values_that_are_all_different_are_not_the_lowest():
    """The ranges that must give more than their share are not those of the lowest values."""
    values = torch.arange(100.0)[:, None]
    for number in (2, 3, 5, 7):
        _, held_out = stratified_indices(strata(values, ONE), number, torch.Generator().manual_seed(0))
        assert len(held_out) == number
        assert 25 < held_out.double().mean() < 75
    as_they_are = stratified_indices(torch.arange(100), 5, torch.Generator())[1]
    assert as_they_are.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_values", [2, 3, 5])
def test_of_several_values_each_is_spread_evenly(num_values: int) -> None:
    torch.manual_seed(0)
    values = torch.randn(3000, num_values)
    _, held_out = stratified_indices(strata(values, Targets.values(["v"] * num_values)), 600, torch.Generator())
    for column in values[:, :3].T:
        thirds = torch.zeros(3000).index_fill_(0, held_out, 1)[column.argsort()].chunk(2)
        assert all(abs(part.mean().item() - 0.2) < 0.01 for part in thirds) or num_values == 2
        assert all(abs(share - 0.2) < 0.08 for share in deciles(column, held_out))


@pytest.mark.parametrize("split_by", ["content", "position"])
def test_beside_a_value_that_most_samples_have_the_others_give_their_share(split_by: str) -> None:
    """Amounts that are mostly 0, such as rain or sales: the few values below and above 0 both give some."""
    torch.manual_seed(0)
    values = torch.cat([torch.zeros(1900), torch.rand(50) + 1, -torch.rand(50) - 1])[torch.randperm(2000)]
    digests = torch.randint(-(2**62), 2**62, (2000,))
    drawn = strata(values[:, None], ONE)
    assert len(drawn.unique()) == 3
    _, held_out = Drawing(split_by, 0, 0).hold_out(drawn, lambda: digests, 0.2)
    for part in (values > 0, values < 0):
        assert 3 <= int(part[held_out].sum()) <= 20


def test_values_that_are_all_the_same_are_one_stratum():
    assert len(strata(torch.ones(50, 1), ONE).unique()) == 1


def test_targets_are_said_in_words():
    assert in_words(torch.tensor([2, 0]), THREE) == ["c", "a"]
    assert in_words(torch.tensor([[1.0, 1], [0, 0], [0, 1]]), BOTH) == ["cat, dog", "", "dog"]
    assert in_words(torch.tensor([[1.5], [-2]]), ONE) == ["1.5", "-2"]
    assert in_words(torch.tensor([[1.5, 20]]), SIZES) == ["height 1.5, width 20"]
