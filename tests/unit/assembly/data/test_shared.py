"""Opened data in a file in memory: what comes out is what went in, and is each taker's own."""

from __future__ import annotations

import dataclasses
import os
from functools import partial

import pytest
import torch
from torch import Tensor

from nnrun.assembly.data import shared
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.shared import opened_once
from nnrun.base.targets import Targets
from nnrun.components.data.normalize import Normalize
from nnrun.core.lazy_samples import Stored
from nnrun.core.ragged import Ragged
from nnrun.core.seams.data import Split
from nnrun.sweeps.shelves import Kept, OwnShelf


def samples(dtype: torch.dtype) -> Tensor:
    return torch.arange(24).remainder(2 if dtype == torch.bool else 7).to(dtype).view(6, 2, 2)


def data_of(inputs: object) -> Opened:
    targets, digests = torch.arange(6) % 2, torch.arange(6) * 10**12
    split = Split(inputs, targets, names=list("abcdef"), digests=digests, originals=digests)
    return Opened(
        train=split,
        valid=None,
        test=Split(inputs, targets),
        targets=Targets.classes(["low", "high"]),
        preprocessing=Normalize([0.5], [2.0]),
        in_shape=(2, 2),
        # As sources say it of samples that are no tensors.
        source_fingerprint=None if isinstance(inputs, Tensor | dict) else "abc",
    )


INPUTS = {
    **{str(dtype): samples(dtype) for dtype in (torch.uint8, torch.float32, torch.float64, torch.bool)},
    "a tree": {"x": samples(torch.int64), "more": (samples(torch.float16), samples(torch.int8))},
    "not in order": samples(torch.float32).transpose(1, 2),
    "no values": torch.zeros(6, 0),
    "in a file": Stored(partial(samples, torch.float32)),
    "of different length": Ragged.of(torch.arange(1, 22), torch.arange(1, 7)),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_what_is_taken_is_what_was_given(kind: str) -> None:
    shelf, made = OwnShelf(), data_of(INPUTS[kind])
    given = opened_once(shelf, "key", lambda: made)
    taken = opened_once(shelf, "key", lambda: pytest.fail("it was given"))
    for data in (given, taken):
        assert data.fingerprint == made.fingerprint
        assert data.targets == made.targets and data.in_shape == made.in_shape
        assert data.preprocessing.to_plain() == made.preprocessing.to_plain()
        assert data.train.names == made.train.names
        assert data.train.originals is data.train.digests, "as before: kept once"
        ours, theirs = (torch.utils._pytree.tree_leaves(it.train.take(torch.arange(6))) for it in (data, made))
        for our, their in zip(ours, theirs, strict=True):
            assert our.dtype == their.dtype and torch.equal(our, their)
    if kind == "not in order":
        assert taken.train.inputs.stride() == INPUTS[kind].stride(), "kernels are chosen by it"
    shelf.close()


def test_a_job_that_changes_its_samples_changes_those_of_no_other() -> None:
    shelf = OwnShelf()
    first, second = (opened_once(shelf, "key", lambda: data_of(samples(torch.float32))) for _ in range(2))
    first.train.inputs.zero_()
    assert torch.equal(second.train.inputs, samples(torch.float32))
    third = opened_once(shelf, "key", lambda: pytest.fail("it was given"))
    shelf.close()
    assert torch.equal(third.train.inputs, samples(torch.float32)), "also once it is given back"


@pytest.mark.parametrize("why", ["an object cannot be pickled", "no memory is left"])
def test_what_cannot_be_shared_is_opened_by_each(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = data_of(samples(torch.uint8))
    if why == "no memory is left":
        monkeypatch.setattr(shared, "available_bytes", lambda: made.num_bytes - 1)
    else:
        made = dataclasses.replace(made, preprocessing=lambda raw: raw)
    shelf, calls = OwnShelf(), []
    for number in range(2):
        assert opened_once(shelf, "key", lambda number=number: calls.append(number) or made) is made
    assert calls == [0, 1]


def test_only_the_newest_is_kept_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.sweeps.shelves.fits_in_memory", lambda num_bytes: num_bytes <= 10)
    kept = Kept()
    for key, size in (("a", 4), ("b", 6), ("c", 2), ("d", 99)):
        descriptor = os.memfd_create(key) if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        os.truncate(descriptor, size)
        kept.put(key, descriptor)
        found = {key: kept.get(key) is not None for key in "abcd"}
        assert [key for key, is_there in found.items() if is_there] == {
            "a": ["a"],
            "b": ["a", "b"],
            "c": ["b", "c"],
            "d": ["d"],
        }[key]
    kept.close()
