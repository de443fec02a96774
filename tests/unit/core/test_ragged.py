"""Samples of different lengths: padding, the order by length, the same batches wherever they are."""

from __future__ import annotations

import pytest
import torch

from nnrun.core.batches import SplitBatches
from nnrun.core.ragged import MULTIPLE, Ragged, by_length
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.data import Split

LENGTHS = torch.randint(0, 60, (103,), generator=torch.Generator().manual_seed(0))
ROWS = [torch.arange(1, length + 1) + 100 * place for place, length in enumerate(LENGTHS.tolist())]
RAGGED = Ragged.of(torch.cat(ROWS).to(torch.int32), LENGTHS)
SPLIT = Split(RAGGED, torch.arange(103))


def batches(residency: str = "memory", seed: int | None = 5, workers: int = 0) -> SplitBatches:
    layout = Layout(torch.device("cpu"), residency=residency, num_workers=workers)
    return SplitBatches(samples_at(SPLIT, layout), lambda raw: raw, 8, seed)


@pytest.mark.parametrize("indices", [[3], [0, 5, 5, 2], list(range(103))])
def test_rows_are_padded_to_a_multiple_of_the_longest(indices: list[int]) -> None:
    found = RAGGED.index_select(0, torch.tensor(indices))
    longest = max(len(ROWS[index]) for index in indices)
    assert found.shape == (len(indices), max(1, -(-longest // MULTIPLE)) * MULTIPLE)
    assert found.dtype == torch.int64
    for row, index in zip(found, indices, strict=True):
        assert torch.equal(row[: len(ROWS[index])], ROWS[index])
        assert not row[len(ROWS[index]) :].any()


def test_a_subset_of_a_subset_has_its_own_rows() -> None:
    found = RAGGED.subset(torch.tensor([7, 1, 9])).subset(torch.tensor([2, 0]))
    assert (len(found), found.shape) == (2, (2, None))
    assert torch.equal(found[0], ROWS[9])
    assert torch.equal(found[1], ROWS[7])


def test_empty_rows_are_padding_alone() -> None:
    found = Ragged.of(torch.empty(0, dtype=torch.int32), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(found[:], torch.zeros(3, MULTIPLE, dtype=torch.int64))


def test_an_epoch_has_each_sample_once_and_batches_of_similar_lengths() -> None:
    order = batches().order(2)
    assert sorted(order.flatten()[:103].tolist()) == list(range(103))
    spread = LENGTHS[order[:-1]].amax(1) - LENGTHS[order[:-1]].amin(1)
    shuffled = LENGTHS[torch.randperm(103, generator=torch.Generator().manual_seed(1))][:96].view(12, 8)
    by_chance = shuffled.amax(1) - shuffled.amin(1)
    assert spread.float().mean() < by_chance.float().mean() / 4
    longest_first = LENGTHS[order[:-1]].amax(1)
    assert not torch.equal(longest_first, longest_first.sort().values), "the batches are shuffled"


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert torch.equal(batches().order(2), batches().order(2))
    assert not torch.equal(batches().order(2), batches().order(3))
    assert not torch.equal(batches().order(2), batches(seed=6).order(2))
    assert torch.equal(batches(seed=None).order(0).flatten()[:103], torch.arange(103)), "evaluated in their own order"


@pytest.mark.parametrize(("residency", "workers"), [("device", 0), ("stream", 0), ("stream", 1)])
def test_the_batches_are_the_same_in_every_residence(residency: str, workers: int) -> None:
    for ours, theirs in zip(batches(residency, workers=workers).epoch(1, 3), batches().epoch(1, 3), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)
        assert torch.equal(ours.weight, theirs.weight)


def test_fewer_samples_than_a_batch_stay_as_they_are() -> None:
    order = torch.tensor([2, 0, 1])
    assert torch.equal(by_length(order, LENGTHS, 8, torch.Generator()), order)


def test_a_text_beside_other_tensors_does_not_wait_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """`index_select` is what looks at the indices of one batch, on the device."""
    tree = {"text": RAGGED, "other": [torch.arange(103.0), RAGGED]}
    samples = samples_at(Split(tree, torch.arange(103)), Layout(torch.device("cpu"), residency="device"))
    order = samples.order(5, 1, 8)[:96].view(12, 8)
    expected = [RAGGED.index_select(0, indices) for indices in order]
    monkeypatch.setattr(Ragged, "index_select", lambda *_: pytest.fail("waits for the device"))
    for raw, indices, text in zip(samples.rows(order), order, expected, strict=True):
        assert torch.equal(raw["text"], text)
        assert torch.equal(raw["other"][1], text)
        assert torch.equal(raw["other"][0], indices.float())
