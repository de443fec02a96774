from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.core.splits import stratified_indices


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_each_sample_is_in_one_part_and_each_class_gives_its_share(data: st.DataObject) -> None:
    targets = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=80)))
    num_held_out = data.draw(st.integers(0, len(targets)))

    kept, held_out = stratified_indices(targets, num_held_out, seeded())

    assert len(held_out) == num_held_out
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(targets)))
    assert kept.tolist() == sorted(kept.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    for label in targets.unique():
        share = int((targets == label).sum()) * num_held_out / len(targets)
        assert abs(int((targets[held_out] == label).sum()) - share) < 1


@pytest.mark.parametrize(
    ("sizes", "num_held_out", "shares"),
    [
        ((5, 3, 2), 5, (3, 1, 1)),  # exact: 2.5, 1.5, 1.0: a tie goes to the lower label
        ((6, 3, 1), 4, (3, 1, 0)),  # 2.4, 1.2, 0.4: two remainders tie for one place
        ((7, 2, 1), 5, (4, 1, 0)),  # 3.5, 1.0, 0.5
        ((1, 8, 1), 5, (1, 4, 0)),  # 0.5, 4.0, 0.5
        ((3, 8, 9), 7, (1, 3, 3)),  # 1.05, 2.8, 3.15: the largest remainder, not the first class or the largest
        ((4, 4), 8, (4, 4)),
        ((4, 4), 0, (0, 0)),
    ],
)
def test_shares_are_rounded_by_the_largest_remainder(sizes, num_held_out, shares) -> None:
    targets = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    _, held_out = stratified_indices(targets, num_held_out, seeded())
    assert tuple(targets[held_out].bincount(minlength=len(sizes)).tolist()) == shares


def test_the_generator_alone_decides() -> None:
    targets = torch.arange(10).repeat(20)
    first = stratified_indices(targets, 40, seeded(3))[1]
    torch.manual_seed(99)
    assert torch.equal(stratified_indices(targets, 40, seeded(3))[1], first)
    assert not torch.equal(stratified_indices(targets, 40, seeded(4))[1], first)  # control: another seed differs


def test_the_choice_within_a_class_is_not_its_first_or_last_samples() -> None:
    held_out = stratified_indices(torch.zeros(1000, dtype=torch.int64), 500, seeded())[1]
    assert 200 < int((held_out < 500).sum()) < 300


def test_a_split_of_nothing_is_nothing() -> None:
    kept, held_out = stratified_indices(torch.zeros(0, dtype=torch.int64), 0, seeded())
    assert len(kept) == len(held_out) == 0
