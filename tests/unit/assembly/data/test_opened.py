"""Data that does not fit together is found on the host, before a device sees it."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from types import SimpleNamespace

import pytest
import torch

import nnrun.assembly.data.opened as opened_data
from nnrun.assembly.data.opened import open_data
from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.digits import Digits
from nnrun.config.schema import DataSettings
from nnrun.core.seams.data import Evaluation, Split

SETTINGS = DataSettings(
    name="mine",
    root="data",
    batch_size=32,
    eval_batch_size=100,
    val_fraction=0.1,
    num_folds=None,
    fold=1,
    split_seed=0,
    split_by="position",
    limit=None,
    num_workers=0,
    residency="auto",
    download=False,
    group=None,
    time=None,
    columns=None,
    image=None,
    drop=None,
    text=None,
    max_length=None,
    image_size=None,
    resize="crop",
    jpeg_draft=False,
    channels=None,
    on_bad="error",
    white="auto",
    class_order="natural",
    targets="auto",
    labels=None,
    target=None,
    in_shape=None,
    num_outputs=None,
    num_classes=None,
    facts=None,
    dataset={"_target_": "nnrun.components.data.digits.Digits"},
)
GOOD = Digits().load()


def opened(monkeypatch, train: Split, **changes):
    monkeypatch.setattr(Digits, "load", lambda _: dataclasses.replace(GOOD, train=train))
    return open_data(dataclasses.replace(SETTINGS, **changes), checks_batch=True)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (Split(GOOD.train.inputs[:-5], GOOD.train.targets), "1,432 inputs and 1,437 targets"),
        (Split(GOOD.train.inputs, GOOD.train.targets.float()), "torch.float32; the type must be torch.int64"),
        (Split(GOOD.train.inputs, GOOD.train.targets - 1), "has the label -1"),
        (Split(GOOD.train.inputs, GOOD.train.targets + 1), "has the label 10"),
        (Split(GOOD.train.inputs[:0], GOOD.train.targets[:0]), "is empty"),
    ],
)
def test_a_split_that_does_not_fit_together_is_refused(monkeypatch, train, words):
    with pytest.raises(DataError, match=words):
        opened(monkeypatch, train)


def test_the_right_data_are_taken_and_held_out_by_the_fraction(monkeypatch):
    """By position each class gives its exact share, by content about that; the test is the data set's own."""
    data = opened(monkeypatch, GOOD.train)
    assert (len(data.train), len(data.valid), len(data.test)) == (1293, 144, 360)
    data = opened(monkeypatch, GOOD.train, split_by="content")
    assert (len(data.train), len(data.valid), len(data.test)) == (1313, 124, 360)


def test_by_content_the_validation_part_does_not_move_when_samples_come_or_change_places(monkeypatch):
    """The negative control: by position it does."""
    order = torch.randperm(1437, generator=torch.Generator().manual_seed(0))
    for split_by, moves in (("content", False), ("position", True)):
        parts = []
        for train in (GOOD.train, GOOD.train.subset(order), GOOD.train.subset(order[:1400])):
            data = opened(monkeypatch, train, split_by=split_by)
            parts.append({name: set(split.digested().tolist()) for name, split in data.parts.items()})
        whole, reordered, fewer = parts
        assert (whole["valid"] != reordered["valid"]) is moves
        assert bool(fewer["valid"] & whole["train"] or fewer["train"] & whole["valid"]) is moves


def test_by_content_a_limit_takes_whole_classes_and_what_it_takes_is_on_its_side(monkeypatch):
    """Less of the data is a part of more of it, in train and in valid."""
    more, less = (opened(monkeypatch, GOOD.train, split_by="content", limit=limit) for limit in (400, 200))
    assert less.train.targets.unique().tolist() == list(range(10))
    for name in ("train", "valid", "test"):
        ours, theirs = (set(data.parts[name].digested().tolist()) for data in (less, more))
        assert ours <= theirs
    assert (len(less.test), less.num_test) == (200, 360)


def test_nothing_left_to_train_on_and_a_batch_larger_than_the_data_are_refused(monkeypatch):
    with pytest.raises(DataError, match="leaves no samples for training"):
        opened(monkeypatch, GOOD.train, val_fraction=0.9999)
    with pytest.raises(DataError, match=r"larger than the training split, which has 1,293 samples; use .*=256 or less"):
        opened(monkeypatch, GOOD.train, batch_size=2000)
    assert open_data(dataclasses.replace(SETTINGS, batch_size=2000), checks_batch=False), (
        "an evaluation has no such batch"
    )


def test_what_a_source_of_the_users_own_raises_is_named(monkeypatch):
    def broken(_):
        raise FileNotFoundError("no such file: x.npy")

    monkeypatch.setattr(Digits, "load", broken)
    with pytest.raises(DataError, match=r"data=mine cannot be loaded: FileNotFoundError: no such file: x\.npy"):
        open_data(SETTINGS, checks_batch=True)
    monkeypatch.setattr(Digits, "load", lambda _: torch.zeros(3))
    with pytest.raises(DataError, match=r"returns a Tensor, not an nnrun\.api\.Dataset"):
        open_data(SETTINGS, checks_batch=True)


def test_a_data_set_without_a_test_part_is_refused(monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda _: dataclasses.replace(GOOD, test=None))
    with pytest.raises(DataError, match=r"load\(\) returns a Dataset whose test is a NoneType, not an nnrun"):
        open_data(SETTINGS, checks_batch=True)


def test_a_limit_is_taken_of_data_that_is_all_test(monkeypatch):
    """Nothing of it is to train on, and of nothing a limit takes nothing."""
    nothing = Split(GOOD.train.inputs[:0], GOOD.train.targets[:0])
    monkeypatch.setattr(Digits, "load", lambda _: dataclasses.replace(GOOD, train=nothing))
    data = open_data(
        dataclasses.replace(SETTINGS, limit=40),
        checks_batch=False,
        evaluation=Evaluation(GOOD.targets, all_is_test=True),
    )
    assert (len(data.train), data.valid, len(data.test), data.num_test) == (0, None, 40, 360)


@pytest.mark.parametrize("split_by", ["position", "content"])
def test_a_validation_part_of_values_is_spread_evenly_over_them(monkeypatch, split_by):
    """Each fifth of the values gives its share. Negative control: the lowest ones alone would not."""
    draw = torch.Generator().manual_seed(0)
    ages = torch.randn(1000, 1, generator=draw).exp()
    train = Split(torch.randint(0, 256, (1000, 1, 4, 4), dtype=torch.uint8, generator=draw), ages)
    whole = dataclasses.replace(GOOD, train=train, test=train.subset(torch.arange(50)), targets=Targets.values(["age"]))
    monkeypatch.setattr(Digits, "load", lambda _: whole)
    data = open_data(dataclasses.replace(SETTINGS, split_by=split_by, val_fraction=0.2, limit=900), checks_batch=True)
    assert (len(data.train) + len(data.valid), data.known["num_outputs"]) == (900, 1)
    edges = ages[:, 0].quantile(torch.tensor([0.2, 0.4, 0.6, 0.8]))

    def is_even(values):
        counts = torch.bincount(torch.bucketize(values, edges), minlength=5)
        return bool((counts > 20).all()) and bool((counts < 52).all())

    assert is_even(data.valid.targets[:, 0])
    assert not is_even(ages[:, 0].sort().values[:180])


def test_claims_about_the_data_are_held_against_it(monkeypatch):
    labels = Split(GOOD.train.inputs, torch.eye(10)[GOOD.train.targets])
    whole = dataclasses.replace(
        GOOD, train=labels, test=labels, targets=Targets.labels("abcdefghij"), facts={"words": 3}
    )
    monkeypatch.setattr(Digits, "load", lambda _: whole)
    for claim, says in (
        ({"num_classes": 10}, "data.num_classes is 10, but mine has no classes"),
        ({"num_outputs": 3}, "data.num_outputs is 3, but mine has 10"),
        (
            {"in_shape": {"image": [1, 28, 28]}},
            r"data.in_shape is {'image': \[1, 28, 28\]}, but mine has \[1, 28, 28\]",
        ),
        ({"facts": {"words": 4}}, "data.facts is {'words': 4}, but mine has {'words': 3}"),
    ):
        with pytest.raises(DataError, match=says):
            open_data(dataclasses.replace(SETTINGS, **claim), checks_batch=True)
    right = {"num_outputs": 10, "in_shape": [1, 28, 28], "facts": {"words": 3}}
    data = open_data(dataclasses.replace(SETTINGS, **right), checks_batch=True)
    assert sum(data.target_counts) == len(data.train)


def test_targets_that_are_no_tensor_are_refused(monkeypatch):
    with pytest.raises(DataError, match="load\\(\\) returns a Dataset whose train\\.targets is a list, not a tensor"):
        opened(monkeypatch, Split(GOOD.train.inputs, GOOD.train.targets.tolist()))


def test_a_fingerprint_computed_ahead_is_the_same_and_is_computed_once(monkeypatch):
    data = opened(monkeypatch, GOOD.train)
    expected, started, finish, count = dataclasses.replace(data).fingerprint, threading.Event(), threading.Event(), []

    def slowly(*given):
        count.append(threading.current_thread())
        started.set()
        assert finish.wait(10)
        return hashlib.sha256(*given)

    monkeypatch.setattr(opened_data, "hashlib", SimpleNamespace(sha256=slowly))
    data.hash_ahead()
    assert started.wait(10), "it begins before anybody asks"
    finish.set()
    assert (data.fingerprint, data.fingerprint) == (expected, expected)
    assert len(count) == 1
    assert count[0] is not threading.current_thread()


def test_what_fails_in_computing_a_fingerprint_ahead_is_raised_where_it_is_needed(monkeypatch, capsys):
    data = opened(monkeypatch, GOOD.train)

    def broken(*_):
        raise OSError("the file is gone")

    monkeypatch.setattr(opened_data, "hashlib", SimpleNamespace(sha256=broken))
    data.hash_ahead()
    with pytest.raises(OSError, match="the file is gone"):
        _ = data.fingerprint
    assert capsys.readouterr().err == ""


def test_a_fingerprint_needs_no_thread(monkeypatch):
    data = opened(monkeypatch, GOOD.train)

    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    data.hash_ahead()
    assert data.fingerprint == dataclasses.replace(data).fingerprint
