"""Two processes that each have a part of every parameter train what one process trains that has all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from nnrun.core.seams.world import World
from support.ranks import Case, Result, train_case, train_in_two_processes

ADAM = partial(torch.optim.Adam, lr=0.01)
LATE = frozenset(("0.weight", "0.bias"))
# 20 samples in batches of 8: the second rank has none of the short last batch. The head has 3 rows: uneven parts.
SAME: dict[str, Case] = {
    "plain": Case(options={"epochs": 3}),
    "clipped": Case(options={"epochs": 3, "grad_clip_norm": 0.2}),
    "Adam, accumulated, averaged": Case(
        options={"epochs": 3, "accumulate": 2, "grad_clip_norm": 0.2, "ema_decay": 0.9, "validate_every_steps": 1},
        optimizer=ADAM,
    ),
    "fused Adam, skipping": Case(
        options={"epochs": 2, "max_skipped": 3}, bad_sample=11, optimizer=partial(ADAM, fused=True)
    ),
    "too many bad updates": Case(options={"epochs": 3, "max_skipped": 1}, bad_sample=11),
    "diverged": Case(options={"epochs": 3, "log_every_steps": 2}, bad_sample=11),
    "tied weights": Case("tied", {"epochs": 3, "ema_decay": 0.9}, optimizer=ADAM),
    "recurrent": Case("recurrent", {"epochs": 3}, optimizer=ADAM),
    "late": Case(options={"epochs": 3}, late=LATE, optimizer=ADAM),
    "BatchNorm over both": Case("batchnorm", {"epochs": 3, "ema_decay": 0.9}, is_synced=True),
    "bf16": Case(options={"epochs": 2, "precision": "bf16", "grad_clip_norm": 0.2}),
}
RESUMED = Case(options={"epochs": 3, "ema_decay": 0.9, "grad_clip_norm": 0.2}, optimizer=ADAM)
DIVIDED = {name: replace(case, is_divided=True) for name, case in SAME.items()}
STOPPED = {
    "stopped, divided again": replace(RESUMED, is_divided=True, resumes_divided=True, stop_at=(1, 2)),
    "stopped, then each has all": replace(RESUMED, is_divided=True, stop_at=(1, 2)),
    "each has all, then divided": replace(RESUMED, resumes_divided=True, stop_at=(1, 2)),
}
OTHERS = {
    "undisturbed": replace(RESUMED, is_divided=True),
    "each has all": RESUMED,
    "bf16, each has all": SAME["bf16"],
    "norms of parts": replace(SAME["clipped"], is_divided=True, norms_of_parts=True),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Result, Result]]:
    return train_in_two_processes(DIVIDED | STOPPED | OTHERS, tmp_path_factory.mktemp("ranks"))


def assert_close(one: Result, other: Result) -> None:
    """To 1e-5, in weights, optimizer state and rows; the same rows, steps and words."""
    assert (one.end, one.step) == (other.end, other.step)
    for ours, theirs in ((one.weights, other.weights), (one.evaluated, other.evaluated)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5, equal_nan=True)
    assert one.optimizer["param_groups"] == other.optimizer["param_groups"]
    torch.testing.assert_close(one.optimizer["state"], other.optimizer["state"], rtol=0, atol=1e-5, equal_nan=True)
    assert len(one.rows) == len(other.rows)
    for ours, theirs in zip(map(dict, one.rows), other.rows, strict=True):
        assert ours.pop("split") == theirs["split"]
        assert ours == pytest.approx({name: theirs[name] for name in theirs if name != "split"}, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("name", [name for name in SAME if name != "bf16"])
def test_parts_train_as_the_whole_does(both: dict[str, tuple[Result, Result]], name: str) -> None:
    first, second = both[name]
    alone = train_case(SAME[name], World())
    assert_close(first, alone)
    assert any("grad_norm" in row for row in alone.rows)
    assert (first.end, first.step) == (second.end, second.step)
    assert second.rows == [] and second.saved == []


def test_bf16_is_that_of_two_processes_with_all(both: dict[str, tuple[Result, Result]]) -> None:
    """One process rounds the sums of a whole batch, two those of their slices."""
    assert_close(both["bf16"][0], both["bf16, each has all"][0])


def test_each_rank_has_half_of_weights_average_and_optimizer_state(both: dict[str, tuple[Result, Result]]) -> None:
    whole = both["each has all"][0].num_bytes[0]
    for rank in both["undisturbed"]:
        assert rank.num_bytes[0] == pytest.approx(whole / 2, rel=0.15)  # the head has three rows
        assert rank.num_bytes[1] == whole


def test_a_stopped_training_resumes_to_the_same_bits(both: dict[str, tuple[Result, Result]]) -> None:
    resumed, undisturbed = both["stopped, divided again"][0], both["undisturbed"][0]
    assert resumed.stopped_at == 2
    assert torch.equal(resumed.weights, undisturbed.weights)
    assert torch.equal(resumed.evaluated, undisturbed.evaluated)
    assert_close(resumed, undisturbed)


@pytest.mark.parametrize("name", ["stopped, then each has all", "each has all, then divided"])
def test_what_is_saved_is_the_same_however_it_was_divided(both: dict[str, tuple[Result, Result]], name: str) -> None:
    assert both[name][0].stopped_at == 2
    assert_close(both[name][0], both["each has all"][0])


def test_negative_control_clipped_by_the_norms_of_their_parts_they_differ(
    both: dict[str, tuple[Result, Result]],
) -> None:
    alone = train_case(SAME["clipped"], World())
    assert not torch.allclose(both["norms of parts"][0].weights, alone.weights, atol=1e-3)
