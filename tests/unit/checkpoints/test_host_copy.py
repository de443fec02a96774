"""Copies of a training's state: what is one stays one, what is changed afterwards does not matter, memory is kept."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnrun.checkpoints import pinned_copies
from nnrun.checkpoints.host_copy import HostCopy, canonical
from nnrun.checkpoints.pinned_copies import PinnedCopies, can_be_gathered


def saved(tree: Any) -> bytes:
    file = io.BytesIO()
    torch.save(canonical(tree), file)
    return file.getvalue()


def state() -> dict[str, Any]:
    """Weights that are tied, two that share memory, one that stands twice, other layouts and types, plain values."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    whole, once = torch.arange(12.0), torch.ones(2, 3)
    kernels = torch.randn(3, 2, 4, 5).contiguous(memory_format=torch.channels_last)
    return {
        "model": net.state_dict(),
        "parts": [whole[:4], whole[6:], once, once.t()],
        "twice": (once, once),
        "others": {3: kernels, "empty": torch.zeros(0, 2), "scalar": torch.tensor(7), "half": torch.ones(2).half()},
        "plain": [1, None, "text", {"lr": 0.1}],
    }


def test_a_copy_is_the_same_file_as_what_was_copied() -> None:
    """Also from memory that is used again, for a tree of another shape too."""
    host_copy, tree = HostCopy(), state()
    for _ in range(3):
        assert saved(host_copy.take(tree)) == saved(tree)
    larger = {"first": torch.ones(5), **tree}
    assert saved(host_copy.take(larger)) == saved(larger)
    assert saved(host_copy.take(tree)) == saved(tree)


def test_what_is_changed_afterwards_is_not_in_the_copy() -> None:
    """Negative control: without the copying, and without new lists and dictionaries, it is."""
    tree = state()
    before, shared = saved(tree), canonical(tree)
    copy = HostCopy().take(tree)
    for tensor in (*tree["model"].values(), *tree["parts"], *tree["others"].values()):
        tensor.zero_()
    tree["plain"][3]["lr"] = 0.2
    tree["plain"].append(5)
    assert saved(copy) == before
    assert saved(shared) != before


def test_the_memory_of_a_copy_is_used_again() -> None:
    host_copy, tree = HostCopy(), {"a": torch.ones(4), "b": torch.ones(5)}
    first = host_copy.take(tree)
    tree["a"].fill_(3.0)
    second = host_copy.take(tree)
    assert [second[name].data_ptr() == first[name].data_ptr() for name in "ab"] == [True, True]
    assert first["a"].tolist() == [3.0] * 4, "a copy is good until the next is taken"
    third = host_copy.take({"a": torch.ones(6), "b": tree["b"]})
    assert (third["a"].tolist(), third["b"].tolist()) == ([1.0] * 6, [1.0] * 5)


def test_the_copies_of_a_gpus_tensors_are_gathered_in_kept_memory_and_saved_one_by_one(monkeypatch) -> None:
    """Tensors of the host stand for those of a GPU: of each type, small ones in one copy, large ones in one each."""
    monkeypatch.setattr(pinned_copies, "_CHUNK_BYTES", 64)
    kernels = torch.randn(3, 2, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = [torch.arange(5.0), torch.tensor(7.0), torch.zeros(0, 2), kernels, torch.ones(3).bfloat16()]
    tensors += [torch.arange(4), torch.arange(40.0)]
    assert all(map(can_be_gathered, tensors))
    assert not can_be_gathered(torch.ones(4, 4)[:, :2])
    pinned, before = PinnedCopies(), saved(tensors)
    copies = pinned.take(tensors)
    assert saved(copies) == before, "with storages of their own, or each would be saved with all"
    assert [members for members, _ in pinned._chunks] == [[0, 1, 3], [6], [4], [5]]
    for tensor in tensors:
        tensor.add_(1)
    assert saved(copies) == before
    places = [copy.data_ptr() for copy in copies]
    again = pinned.take(tensors)
    assert saved(again) == saved(tensors) != before
    assert [copy.data_ptr() for copy in again] == places
    assert saved(pinned.take(tensors[1:4])) == saved(tensors[1:4])


def test_the_copy_of_a_gpus_tensors_is_waited_for_once_and_not_when_it_is_taken(monkeypatch) -> None:
    """Fake tensors stand for those of a GPU."""
    said: list[str] = []

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking, "else it keeps a core busy"

        def record(self, stream: str) -> None:
            said.append(f"recorded in {stream}")

        def synchronize(self) -> None:
            said.append("waited")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda gpu: f"the stream of {gpu}")
    monkeypatch.setattr(PinnedCopies, "take", lambda _, given: [torch.empty_like(one, device="cpu") for one in given])
    host_copy = HostCopy()
    with FakeTensorMode(allow_non_fake_inputs=True):
        there = torch.ones(2, 3, device="cuda")
        moved = host_copy.take({"a": there, "b": [there], "c": torch.ones(2, 3, device="cuda")})
    assert {leaf.device.type for leaf in (moved["a"], moved["b"][0], moved["c"])} == {"cpu"}
    assert moved["a"] is moved["b"][0]
    assert said == ["recorded in the stream of cuda:0"]
    host_copy.wait()
    assert said[1:] == ["waited"]
