"""Samples in a file behave like the tensor, and only those asked for are read."""

from __future__ import annotations

import functools
import pickle

import pytest
import torch

from nnrun.core import lazy_samples
from nnrun.core.lazy_samples import Stored
from nnrun.core.seams.data import Split

VALUES = torch.arange(24, dtype=torch.float32).view(6, 2, 2)
ROWS = torch.tensor([4, 0, 5])


def mapped(path) -> torch.Tensor:
    return torch.from_file(str(path), shared=False, size=24, dtype=torch.float32).view(6, 2, 2)


@pytest.fixture
def stored(tmp_path) -> Stored:
    (tmp_path / "values").write_bytes(VALUES.numpy().tobytes())
    return Stored(functools.partial(mapped, tmp_path / "values"))


@pytest.mark.parametrize("rows", [None, ROWS])
def test_is_the_tensor_that_it_stands_for(stored, rows):
    ours, theirs = (stored, VALUES) if rows is None else (stored.subset(rows), VALUES[rows])
    assert (len(ours), ours.shape, ours.dtype, ours.nbytes) == (len(theirs), theirs.shape, theirs.dtype, theirs.nbytes)
    for index in (1, slice(1, 3), torch.tensor([2, 0])):
        assert torch.equal(ours[index], theirs[index])
    assert torch.equal(ours.index_select(0, torch.tensor([2, 1])), theirs[[2, 1]])
    assert torch.equal(ours.loaded(), theirs)
    assert torch.equal(ours.subset(torch.tensor([1])).loaded(), theirs[[1]])
    assert ours.to(torch.device("cpu")) is ours


@pytest.mark.parametrize("rows", [None, ROWS, torch.tensor([1, 1, 2, 3, 3, 5, 0])])
def test_a_mapped_file_is_copied_a_part_at_a_time(stored, rows, monkeypatch):
    monkeypatch.setattr(lazy_samples, "_CHUNK_BYTES", 40)
    whole = Stored(stored._open_file, is_mapped=True)
    ours, theirs = (whole, VALUES) if rows is None else (whole.subset(rows), VALUES[rows])
    assert torch.equal(ours.loaded(), theirs)
    ours.loaded().zero_()
    assert torch.equal(pickle.loads(pickle.dumps(ours)).loaded(), theirs)
    assert whole.subset(ROWS[:0]).loaded().shape == (0, 2, 2)


def test_what_is_read_is_a_copy(stored):
    stored[:2].zero_()
    stored.loaded().zero_()
    assert torch.equal(stored.loaded(), VALUES)


def test_another_process_opens_the_file_for_itself(stored):
    again = pickle.loads(pickle.dumps(stored.subset(ROWS)))
    assert torch.equal(again.loaded(), VALUES[ROWS])
    stored.loaded()
    assert len(pickle.dumps(stored)) < 1000, "the path, not the samples"


def test_a_split_leaves_them_in_their_file_until_they_are_taken(stored):
    split = Split(stored, torch.arange(6), list("abcdef")).subset(ROWS)
    assert isinstance(split.inputs, Stored)
    assert split.names == ["e", "a", "f"]
    inputs, targets = split.take(torch.tensor([2, 0]))
    assert torch.equal(inputs, VALUES[[5, 4]])
    assert targets.tolist() == [5, 4]
    assert torch.equal(split.loaded().inputs, VALUES[ROWS])
    assert split.num_bytes == split.loaded().num_bytes == 48
