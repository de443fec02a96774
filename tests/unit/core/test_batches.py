"""Batches are a function of (seed, epoch, index), the same wherever the samples are."""

from __future__ import annotations

import pytest
import torch

from nnrun.core.batches import SplitBatches
from nnrun.core.pinned import PinnedRows
from nnrun.core.residency import Layout, choose_residency, samples_at
from nnrun.core.seams.data import Split

CPU = torch.device("cpu")
KINDS = [("device", 0), ("memory", 0), ("stream", 0), ("stream", 2)]


def batches_of(split, plain, residency="device", workers=0, **options):
    layout = Layout(CPU, options.pop("channels_last", False), residency, workers)
    settings = {"batch_size": 8, "shuffle_seed": 5} | options
    return SplitBatches(samples_at(split, layout), plain, **settings)


def assert_same_batches(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.num_samples == other.num_samples
        for field in ("inputs", "targets", "weight"):
            assert torch.equal(getattr(one, field), getattr(other, field))


def test_an_epoch_has_every_sample_once_and_the_last_batch_is_filled_from_the_first(make_split, plain):
    batches = batches_of(make_split(20), plain)
    order = batches.order(epoch=3)
    assert order.shape == (3, 8)
    flat = order.flatten()
    assert torch.equal(flat[:20].sort().values, torch.arange(20))
    assert torch.equal(flat[20:], flat[:4])
    last = list(batches.epoch(3))[-1]
    assert last.weight.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert last.num_samples == 4


def test_a_set_that_divides_evenly_has_no_padding(make_split, plain):
    batches = list(batches_of(make_split(16), plain).epoch(0))
    assert [batch.num_samples for batch in batches] == [8, 8]
    assert all(batch.weight.min() == 1 for batch in batches)


def test_a_batch_is_never_larger_than_the_set(make_split, plain):
    (batch,) = batches_of(make_split(5), plain, batch_size=64).epoch(0)
    assert len(batch.targets) == batch.num_samples == 5


def test_the_order_depends_on_seed_and_epoch_and_evaluation_keeps_the_samples_own(make_split, plain):
    split = make_split(20)
    first = batches_of(split, plain).order(0)
    assert torch.equal(batches_of(split, plain).order(0), first)
    assert not torch.equal(batches_of(split, plain).order(1), first)
    assert not torch.equal(batches_of(split, plain, shuffle_seed=6).order(0), first)
    own = batches_of(split, plain, shuffle_seed=None)
    assert torch.equal(own.order(0).flatten()[:20], torch.arange(20))
    assert torch.equal(own.order(1), own.order(0))


@pytest.mark.parametrize(("residency", "workers"), KINDS)
@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_a_start_anywhere_gives_the_tail_of_the_whole_epoch(make_split, plain, residency, workers, start):
    batches = batches_of(make_split(20), plain, residency, workers)
    assert_same_batches(batches.epoch(2, start), list(batches.epoch(2))[start:])


@pytest.mark.parametrize(("residency", "workers"), KINDS)
def test_all_residencies_give_the_same_batches_and_draw_nothing(make_split, plain, residency, workers):
    split = make_split(20)
    expected = list(batches_of(split, plain).epoch(1))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert_same_batches(batches_of(split, plain, residency, workers).epoch(1), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_may_be_any_tree(make_split):
    class Pair:
        def __call__(self, raw):
            return {"x": raw["x"].float() / 2, "more": (raw["more"][0],)}

        def to_plain(self):
            return {}

    targets = torch.arange(10)
    split = Split({"x": torch.arange(10)[:, None], "more": (torch.arange(10) * 3,)}, targets)
    for residency, workers in KINDS:
        for batch in batches_of(split, Pair(), residency, workers, batch_size=4).epoch(0):
            assert torch.equal(batch.inputs["x"][:, 0], batch.targets / 2)
            assert torch.equal(batch.inputs["more"][0], batch.targets * 3)


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_lie_in_the_layout_asked_for(plain, channels_last):
    split = Split(torch.randint(256, (6, 3, 5, 4), dtype=torch.uint8), torch.zeros(6, dtype=torch.int64))
    (batch,) = batches_of(split, plain, batch_size=6, channels_last=channels_last).epoch(0)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert torch.equal(batch.inputs, split.inputs[batches_of(split, plain, batch_size=6).order(0)[0]].float())


def test_residency_auto_is_the_device_where_that_is_the_host():
    assert choose_residency("auto", 2**20, CPU) == "device"
    assert choose_residency("auto", 2**50, CPU) == "stream", "no machine has room for that"
    for wanted in ("memory", "stream", "device"):
        assert choose_residency(wanted, 2**50, CPU) == wanted


class Event:
    """Stands in for a GPU's event: recorded when a copy is queued, waited for before its buffer is filled again."""

    def __init__(self, enable_timing: bool = False) -> None:
        assert not enable_timing, "it costs time, and nothing here is timed"
        self.calls: list[str] = []

    def record(self, stream: object) -> None:
        assert stream == f"the stream of {CPU}"
        self.calls.append("record")

    def synchronize(self) -> None:
        self.calls.append("synchronize")


def test_samples_in_memory_are_gathered_in_pinned_buffers_by_turns(make_split, plain, monkeypatch):
    """Negative control: a copy still in progress would show a later batch, as that of batch 1 does here."""
    empty, pinned = torch.empty, []

    def asked(*args, pin_memory=False, **kwargs):
        pinned.append(pin_memory)
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    monkeypatch.setattr(torch, "empty", asked)
    split = make_split(40)
    rows = PinnedRows(CPU)
    order = batches_of(split, plain).order(0)
    taken = [rows.take({"x": split.inputs}, indices)["x"] for indices in order]
    assert pinned == [True, True]
    for number in (3, 4):
        assert torch.equal(taken[number], split.inputs[order[number]])
    # On a CPU `to` copies nothing: what a GPU would have copied by now is overwritten two batches later.
    assert torch.equal(taken[1], split.inputs[order[3]])
    calls = [turn.copied._event.calls for turn in rows._turns]
    assert sorted(calls, key=len) == [["synchronize", "record"] * 2, ["synchronize", "record"] * 3]


def test_batches_that_gave_up_their_place_take_it_again(make_split, plain):
    batches = batches_of(make_split(20), plain)
    first = list(batches.epoch(0))
    placed = batches.samples.placed
    batches.samples.release()
    assert batches.samples._placed is None
    assert_same_batches(batches.epoch(0), first)
    assert batches.samples.placed is not placed
