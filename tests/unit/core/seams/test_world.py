"""Two processes give the same result as one: weights, rows, and how it ends. One process is a world of size 1."""

from __future__ import annotations

import pytest
import torch

from nnrun.core.seams.world import World
from support.ranks import Case, Result, train_case, train_in_two_processes

# 20 samples in batches of 8: the second rank has none of the short last batch. 9 validation samples in two batches.
SAME: dict[str, Case] = {
    "plain": Case(options={"epochs": 3}),
    "accumulated, clipped, averaged": Case(
        options={"epochs": 3, "accumulate": 2, "grad_clip_norm": 0.2, "ema_decay": 0.9, "validate_every_steps": 1}
    ),
    "uneven slices": Case(options={"epochs": 3, "batch_size": 7, "validate_every_steps": 2}),
    "a bad update left out": Case(options={"epochs": 2, "max_skipped": 3}, bad_sample=11),
    "too many bad updates": Case(options={"epochs": 3, "max_skipped": 1}, bad_sample=11),
    "diverged": Case(options={"epochs": 3, "log_every_steps": 2}, bad_sample=11),
    "stopped early": Case(options={"epochs": 9, "lr": 1e-30}, patience=2),
    "BatchNorm over both": Case("batchnorm", {"epochs": 3, "ema_decay": 0.9}, is_synced=True),
    "features kept": Case(options={"epochs": 3}, keeps_features=True),
}
STOPPED = {
    "the second rank hears a signal": Case(options={"epochs": 3, "grad_clip_norm": 0.2}, stop_at=(1, 2)),
    "the first rank hears one in a validation": Case(options={"epochs": 3}, stop_at=(0, 5)),
}
OTHERS = {
    "without the sum": Case(options={"epochs": 3}, is_summed=False),
    "dropout": Case("dropout", {"epochs": 3}),
    "batchnorm": Case("batchnorm", {"epochs": 3}),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Result, Result]]:
    return train_in_two_processes(SAME | STOPPED | OTHERS, tmp_path_factory.mktemp("ranks"))


def assert_close(one: Result, other: Result) -> None:
    """To 1e-6, in weights and rows; the same rows, steps and words."""
    assert (one.end, one.step) == (other.end, other.step)
    torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(one.evaluated, other.evaluated, rtol=0, atol=1e-6, equal_nan=True)
    assert len(one.rows) == len(other.rows)
    for ours, theirs in zip(map(dict, one.rows), other.rows, strict=True):
        assert ours.pop("split") == theirs["split"]
        assert ours == pytest.approx({name: theirs[name] for name in theirs if name != "split"}, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", SAME)
def test_two_processes_give_what_one_gives(both: dict[str, tuple[Result, Result]], name: str) -> None:
    first, second = both[name]
    alone = train_case(SAME[name], World())
    assert_close(first, alone)
    assert alone.rows
    assert any("grad_norm" in row for row in alone.rows)
    assert torch.equal(first.weights, second.weights) or alone.end != "done"
    assert (first.end, first.step) == (second.end, second.step)


@pytest.mark.parametrize("name", STOPPED)
def test_a_signal_to_one_stops_both_at_the_same_step_and_what_is_saved_goes_on(
    both: dict[str, tuple[Result, Result]], name: str
) -> None:
    first, second = both[name]
    _, poll = STOPPED[name].stop_at
    assert first.stopped_at == second.stopped_at == min(poll, 3)
    assert_close(first, train_case(Case(options=STOPPED[name].options), World()))
    assert torch.equal(first.weights, second.weights)


def test_the_first_rank_alone_writes(both: dict[str, tuple[Result, Result]]) -> None:
    for first, second in both.values():
        assert first.rows and first.saved
        assert second.rows == [] and second.saved == []


def test_negative_control_without_the_sum_they_part(both: dict[str, tuple[Result, Result]]) -> None:
    first, second = both["without the sum"]
    alone = train_case(Case(options={"epochs": 3}), World())
    for rank in (first, second):
        assert not torch.allclose(rank.weights, alone.weights, atol=1e-3)
    assert not torch.allclose(first.weights, second.weights, atol=1e-3)


@pytest.mark.parametrize("name", ["dropout", "batchnorm"])
def test_what_ranks_draw_and_count_for_themselves_leaves_them_one_network(
    both: dict[str, tuple[Result, Result]], name: str
) -> None:
    """Each has its own draws and statistics: the weights are the same on both, but differ from one process's."""
    first, second = both[name]
    assert torch.equal(first.weights, second.weights)
    assert not torch.allclose(first.weights, train_case(OTHERS[name], World()).weights, atol=1e-6)


class Rank(World):
    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 30])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_shares_of_a_batch_are_the_whole_batch_in_order_and_no_two_streams_meet(batch_size: int, size: int) -> None:
    ranks = [Rank(rank, size) for rank in range(size)]
    samples = list(range(batch_size))
    assert [sample for rank in ranks for sample in samples[rank.share(batch_size)]] == samples
    sizes = [len(samples[rank.share(batch_size)]) for rank in ranks]
    assert max(sizes) - min(sizes) <= 1
    streams = [rank.stream(index) for index in range(5) for rank in ranks]
    assert sorted(streams) == list(range(5 * size))


def test_one_process_is_a_world_that_changes_nothing() -> None:
    """Its slice is the whole batch, and its draws have the numbers of the batches."""
    world, network = World(), torch.nn.Linear(2, 1, bias=False)
    weight = torch.nn.Parameter(torch.ones(2))
    network.weight = weight
    (weight * torch.tensor([1.0, 2.0])).sum().backward()
    world.sum([weight.detach()])
    world.sum_gradients(network)
    world.broadcast([weight.detach()])
    assert weight.tolist() == [1, 1] and weight.grad.tolist() == [1, 2]
    assert world.own(network) == {"weight": weight}
    assert world.norm([weight.grad]).item() == pytest.approx(5**0.5)
    assert world.is_first and world.agree(True) and not world.agree(False)
    assert (world.share(8), world.stream(5)) == (slice(0, 8), 5)
    sums = {"loss": torch.tensor(2.0)}
    totals = world.total(sums)
    totals["loss"] += 1
    assert sums["loss"] == 2
