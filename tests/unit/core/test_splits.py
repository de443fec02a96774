from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.core.randomness import SPLIT, TEST_SPLIT
from nnrun.core.splits import (
    Drawing,
    hashed,
    indices_by_content,
    limit_by_content,
    numbered,
    stratified_indices,
)

PAIRS = [(TEST_SPLIT, 0), (TEST_SPLIT, 1), (SPLIT, 0), (SPLIT, 1)]
# By a second implementation of SplitMix64, in Python's integers.
HASHES = [0.299084261, 0.372201746, 0.769252433, 0.578047197, 0.713857725]


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


def contents(number: int, seed: int = 0) -> torch.Tensor:
    """Digests of samples, like those of a hash: any 64 bits."""
    return torch.randint(-(2**63), 2**63 - 1, (number,), generator=seeded(seed))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_by_content_nothing_moves_when_samples_are_added_or_reordered(data: st.DataObject) -> None:
    """With classes so large that none is corrected. Negative control: by position, both move nearly all samples."""
    fraction, salt = data.draw(st.sampled_from([0.1, 0.2, 0.5])), data.draw(st.integers(0, 2**63 - 1))
    digests, targets = contents(600), torch.arange(600) % 3
    number = data.draw(st.integers(300, 600))
    held_out = {int(digests[index]) for index in indices_by_content(digests, targets, fraction, salt)[1]}
    order = torch.randperm(600, generator=seeded(data.draw(st.integers(0, 99))))
    few = order[:number]
    kept_of_few, held_out_of_few = indices_by_content(digests[few], targets[few], fraction, salt)
    assert sorted([*kept_of_few.tolist(), *held_out_of_few.tolist()]) == list(range(number))
    assert {int(value) for value in digests[few][held_out_of_few]} == held_out & set(digests[few].tolist())
    assert len(held_out) == pytest.approx(600 * fraction, abs=60)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_by_content_copies_are_on_one_side_and_no_class_is_emptied(data: st.DataObject) -> None:
    """However few samples and different contents there are, with any labels."""
    number = data.draw(st.integers(1, 30))
    digests = contents(8)[torch.tensor(data.draw(st.lists(st.integers(0, 7), min_size=number, max_size=number)))]
    targets = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=number, max_size=number)))
    fraction = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    kept, held_out = indices_by_content(digests, targets, fraction, data.draw(st.integers(0, 99)))
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(number))
    assert not set(digests[kept].tolist()) & set(digests[held_out].tolist())
    assert set(targets[kept].tolist()) == set(targets.tolist())


def test_by_content_a_small_class_gives_one_where_its_share_is_one() -> None:
    """By hashes alone, some classes of ten samples give none at some seeds; a class that is too small gives none."""
    digests, targets = contents(60), torch.arange(60) % 6
    for salt in range(30):
        shares = targets[indices_by_content(digests, targets, 0.1, salt)[1]].bincount(minlength=6)
        assert int(shares.min()) >= 1
    few = indices_by_content(digests[:24], targets[:24], 0.1, 0)[1]
    assert len(few) < 6, "4 samples of a class have a share of 0.4"


def test_by_content_small_classes_give_one_together_and_samples_all_alike_are_told_by_their_places() -> None:
    digests, targets = contents(40), torch.arange(40) % 10
    for seed in range(300):
        kept, held_out = Drawing("content", SPLIT, seed).hold_out(targets, lambda: digests, 0.1)
        assert len(held_out) >= 1
        assert set(targets[kept].tolist()) == set(range(10))
    alike = Drawing("content", SPLIT, 0).hold_out(targets, lambda: torch.zeros(40, dtype=torch.int64), 0.1)[1]
    assert torch.equal(alike, Drawing("position", SPLIT, 0).hold_out(targets, lambda: digests, 0.1)[1])


@pytest.mark.parametrize("split_by", ["content", "position"])
def test_each_sample_is_held_out_in_one_fold(split_by: str) -> None:
    """Negative control: hold-outs of the same size that other seeds draw have samples in common."""
    labels, digests = torch.arange(300) % 7, torch.arange(300) // 2
    drawing = Drawing(split_by, SPLIT, 0)
    folds = [drawing.fold(labels, lambda: digests, number, 5) for number in range(5)]
    assert sorted(torch.cat([held_out for _, held_out in folds]).tolist()) == list(range(300))
    assert all(sorted([*kept.tolist(), *held_out.tolist()]) == list(range(300)) for kept, held_out in folds)
    drawn = [Drawing(split_by, SPLIT, seed).hold_out(labels, lambda: digests, 0.2)[1] for seed in range(5)]
    assert len(torch.cat(drawn).unique()) < 280
    if split_by == "content":  # copies are on one side, and nothing moves when samples are added
        assert all(not set(digests[kept].tolist()) & set(digests[held].tolist()) for kept, held in folds)
        more = drawing.fold(torch.arange(400) % 7, lambda: torch.arange(400) // 2, 3, 5)[1]
        assert [index for index in more.tolist() if index < 300] == folds[3][1].tolist()
    else:
        assert {int((labels[held] == 0).sum()) for _, held in folds} <= {8, 9}


def test_by_content_seed_and_purpose_decide() -> None:
    digests, targets = contents(1000), torch.zeros(1000, dtype=torch.int64)
    by_seed = [Drawing("content", purpose, seed).hold_out(targets, lambda: digests, 0.5)[1] for purpose, seed in PAIRS]
    for first, second in itertools.combinations(by_seed, 2):
        shared = len(set(first.tolist()) & set(second.tolist()))
        assert 170 < shared < 330, "as of two draws that know nothing of each other"


def test_what_is_drawn_by_content_is_the_same_on_every_machine() -> None:
    """The values are fixed: changing the hash would move the hold-outs of all runs."""
    hashes = hashed(torch.tensor([0, 1, -1, 2**63 - 1, -(2**63)]), 2**63 + 5)
    assert [round(value, 9) for value in hashes.tolist()] == HASHES
    digests = contents(20)
    by_content = Drawing("content", SPLIT, 7).hold_out(torch.arange(20) % 2, lambda: digests, 0.3)[1]
    assert by_content.tolist() == [8, 9, 14, 18]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_limit_by_content_takes_each_class_its_share_whatever_the_order(data: st.DataObject) -> None:
    targets = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=80)))
    digests, number = contents(len(targets)), data.draw(st.integers(1, len(targets)))
    chosen = limit_by_content(digests, targets, number, 3)
    assert len(chosen) == number
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    counts = targets.bincount()
    if number >= int((counts > 0).sum()):
        assert set(targets[chosen].tolist()) == set(targets.tolist()), "none is left out where there is room"
    order = torch.randperm(len(targets), generator=seeded())
    again = limit_by_content(digests[order], targets[order], number, 3)
    assert set(digests[order][again].tolist()) == set(digests[chosen].tolist())


def held_out_by_sorting(digests: Tensor, strata: Tensor, fraction: float, salt: int) -> Tensor:
    """Return which samples are held out, by the rule as documented, with everything sorted and compared."""
    hashes = hashed(digests, salt)
    _, stratum, sizes = torch.unique(strata, return_inverse=True, return_counts=True)
    held_out = hashes < fraction
    for place, size in enumerate(sizes.tolist()):
        own, of = stratum == place, hashes[stratum == place]
        if of.max() < fraction:
            held_out &= ~(own & (hashes == of.max()))
        elif of.min() >= fraction and of.min() < of.max() and size * fraction >= 0.5:
            held_out |= own & (hashes == of.min())
    if not held_out.any() and len(strata) * fraction >= 0.5:
        varied = [place for place in range(len(sizes)) if hashes[stratum == place].unique().numel() > 1]
        spares = torch.isin(stratum, torch.tensor(varied, dtype=torch.int64))
        held_out |= spares & (hashes == hashes[spares].min()) if spares.any() else False
    return held_out & ~torch.isin(digests, digests[~held_out])


@given(
    pairs=st.lists(st.tuples(st.integers(-20, 20), st.sampled_from([0, 1, 2, 5, 900])), min_size=1, max_size=60),
    fraction=st.floats(0.01, 0.9),
    salt=st.integers(0, 5),
)
def test_by_content_very_many_are_drawn_as_few_are(pairs, fraction, salt) -> None:
    """The shortcuts for speed change no draw: classes are counted, and only moved samples are compared."""
    digests, strata = (torch.tensor(column) for column in zip(*pairs, strict=True))
    held_out = indices_by_content(digests, strata, fraction, salt)[1]
    assert held_out.tolist() == held_out_by_sorting(digests, strata, fraction, salt).nonzero()[:, 0].tolist()


@given(st.lists(st.integers(-5, 5) | st.integers(-(10**9), 10**9), max_size=40))
def test_strata_are_numbered_as_sorting_numbers_them(values) -> None:
    strata = torch.tensor(values, dtype=torch.int64)
    _, places, sizes = torch.unique(strata, return_inverse=True, return_counts=True)
    found = numbered(strata)
    assert (found[0].tolist(), found[1].tolist()) == (places.tolist(), sizes.tolist())
