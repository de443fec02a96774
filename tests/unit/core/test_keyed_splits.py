"""Groups are never in two parts, and the newest samples are held out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nnrun.base.targets import Targets
from nnrun.core.keyed_splits import SplitKeys
from nnrun.core.randomness import SPLIT, TEST_SPLIT
from nnrun.core.splits import Drawing
from nnrun.core.target_values import strata

WAYS = ("content", "position")


def samples(number: int, num_groups: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The groups, of different sizes, the times and the classes of some samples, in no order."""
    draw = torch.Generator().manual_seed(seed)
    group = (torch.rand(number, generator=draw) ** 2 * num_groups).long()
    names = torch.randint(-(2**62), 2**62, (num_groups,), generator=draw)
    times = torch.randint(0, number, (number,), generator=draw).double()
    return names[group], times, torch.randint(0, 3, (number,), generator=draw)


def never() -> Tensor:
    raise AssertionError("the content of samples does not decide")


@pytest.mark.parametrize("split_by", WAYS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_groups", [2, 3, 8, 60])
def test_a_group_is_on_one_side(split_by: str, seed: int, num_groups: int) -> None:
    """The negative control: without groups, both sides have samples of most of them."""
    groups, _, classes = samples(400, num_groups, seed)
    drawing = Drawing(split_by, TEST_SPLIT, seed)
    kept, held_out = drawing.hold_out(classes, never, 0.2, SplitKeys(groups=groups))
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(400))
    assert len(kept) and len(held_out)
    assert not set(groups[kept].tolist()) & set(groups[held_out].tolist())
    assert set(classes[kept].tolist()) == {0, 1, 2}
    kept, held_out = drawing.hold_out(classes, lambda: torch.arange(400), 0.2)
    assert set(groups[kept].tolist()) & set(groups[held_out].tolist())


def test_by_position_the_fraction_is_the_nearest_and_by_content_it_is_near() -> None:
    groups = torch.arange(2000) // 10
    classes = torch.zeros(2000, dtype=torch.int64)
    for seed in range(3):
        exact, near = (
            Drawing(by, SPLIT, seed).hold_out(classes, never, 0.25, SplitKeys(groups))[1] for by in WAYS[::-1]
        )
        assert len(exact) == 500
        assert 350 < len(near) < 650


def test_a_group_stays_where_it_is_when_others_are_added() -> None:
    """The negative control: by position it may move, and with another seed."""
    groups, _, classes = samples(600, 60)
    few = groups != groups.unique()[7]
    for split_by, stays in (("content", True), ("position", False)):
        sides = []
        for kept in (few, torch.ones_like(few)):
            drawing = Drawing(split_by, SPLIT, 0)
            held_out = drawing.hold_out(classes[kept], never, 0.3, SplitKeys(groups[kept]))[1]
            sides.append(set(groups[kept][held_out].tolist()) - {int(groups[~few][0])})
        assert (sides[0] == sides[1]) is stays
    both = [
        set(Drawing("content", SPLIT, seed).hold_out(classes, never, 0.3, SplitKeys(groups))[1].tolist())
        for seed in (0, 1)
    ]
    assert both[0] != both[1]


def test_what_cannot_be_divided_is_not_and_says_why() -> None:
    one = SplitKeys(groups=torch.full((9,), 4), group="patient")
    classes = torch.arange(9) % 3
    each = SplitKeys(groups=classes, group="patient")
    same = SplitKeys(times=torch.full((9,), 86400.0), time="date", are_dates=True)
    for keys, why in (
        (one, "data.group=patient: all 9 samples are of one group"),
        (each, "data.group=patient: each of the 3 groups has targets that no other has"),
        (same, "data.time=date: all 9 samples have the same time, 1970-01-02"),
    ):
        kept, held_out = Drawing("content", SPLIT, 0).hold_out(classes, never, 0.3, keys)
        assert (len(kept), len(held_out)) == (9, 0)
        assert keys.why_whole() == why


@pytest.mark.parametrize("split_by", WAYS)
def test_a_group_of_values_may_be_held_out_whose_values_no_other_has(split_by: str) -> None:
    """The negative control: a class that one group alone has stays with the samples to train on."""
    groups = torch.arange(200) % 4
    values, classes = torch.arange(200.0)[:, None] + 1000 * groups[:, None], groups
    keys = SplitKeys(groups)
    drawing = Drawing(split_by, SPLIT, 0)
    numbers = strata(values, Targets("values", ("price",)), keys)
    _, held_out = drawing.hold_out(numbers, never, 0.25, keys)
    assert 50 <= len(held_out) <= 150
    names = Targets("classes", ("a", "b", "c", "d"))
    assert not len(drawing.hold_out(strata(classes, names, keys), never, 0.25, keys)[1])


def test_the_newest_are_held_out_and_a_time_is_on_one_side() -> None:
    _, times, classes = samples(500, 5)
    for fraction in (0.001, 0.1, 0.5, 0.999):
        kept, held_out = Drawing("content", SPLIT, 0).hold_out(classes, never, fraction, SplitKeys(times=times))
        assert len(kept) and len(held_out)
        assert times[kept].max() < times[held_out].min()
        assert abs(len(held_out) - 500 * fraction) <= 3
    years = torch.tensor([2019.0] * 5 + [2020.0] * 4 + [2021.0] * 1)
    _, held_out = Drawing("content", SPLIT, 0).hold_out(torch.zeros(10).long(), never, 0.25, SplitKeys(times=years))
    assert held_out.tolist() == [9], "one of ten is nearer to a quarter than five of ten"


def test_a_group_is_as_new_as_its_newest_sample() -> None:
    groups, times = torch.tensor([1, 1, 2, 2, 3, 3]), torch.tensor([0.0, 9, 1, 2, 3, 4])
    keys = SplitKeys(groups, times)
    classes = torch.zeros(6, dtype=torch.int64)
    assert Drawing("content", SPLIT, 0).hold_out(classes, never, 0.3, keys)[1].tolist() == [0, 1]
    assert Drawing("content", SPLIT, 0).hold_out(classes, never, 0.6, keys)[1].tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("split_by", WAYS)
def test_each_group_is_held_out_in_one_fold_and_folds_are_of_one_size(split_by: str) -> None:
    groups = torch.arange(900) // 10
    classes = torch.zeros(900, dtype=torch.int64)
    drawing, keys = Drawing(split_by, SPLIT, 3), SplitKeys(groups)
    folds = [drawing.fold(classes, never, number, 5, keys) for number in range(5)]
    assert sorted(torch.cat([held_out for _, held_out in folds]).tolist()) == list(range(900))
    for kept, held_out in folds:
        assert len(held_out) == 180
        assert not set(groups[kept].tolist()) & set(groups[held_out].tolist())
    assert not torch.equal(folds[0][1], Drawing(split_by, SPLIT, 4).fold(classes, never, 0, 5, keys)[1])


def test_a_fold_of_times_is_trained_on_the_past_alone() -> None:
    _, times, classes = samples(800, 5)
    keys, ends = SplitKeys(times=times), []
    for number in range(3):
        kept, held_out = Drawing("content", SPLIT, 0).fold(classes, never, number, 3, keys)
        assert times[kept].max() < times[held_out].min()
        assert abs(len(kept) - 200 * (number + 1)) < 8
        assert abs(len(held_out) - 200) < 8
        ends.append(float(times[held_out].max()))
    assert ends == sorted(ends)
    assert ends[-1] == times.max()
