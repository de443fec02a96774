"""Jobs in a real Slurm of one node: requeued, paused, followed and failed; a resumed one has the same bits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.base.errors import ConfigError
from nnrun.cli import compose, main
from nnrun.runs.console import Console
from nnrun.sweeps.seams import Decision, Ended, Event, Order, Progress
from nnrun.sweeps.slurm import SlurmLauncher, SlurmSettings
from support.slurm import OneNode, one_node
from support.small_runs import WORDS

pytestmark = pytest.mark.cluster
SETTINGS = SlurmSettings(
    partition=None,
    nodes=1,
    gpus_per_node=None,
    cpus_per_task=1,
    mem_gb=1.5,
    minutes=10,
    warning_seconds=30,
    requeues=2,
    array_parallelism=8,
    setup=[],
    additional={},
)
_SECONDS = 120
# What the user's network does is in a module, which is edited while the jobs wait.
MODULE = """
from torch import nn


class Own(nn.Sequential):
    def __init__(self, in_shape, num_outputs):
        super().__init__(nn.Flatten(), nn.Linear(784, 8), nn.Dropout(0.2), nn.Linear(8, num_outputs))
"""
CONF = "_target_: mine.Own\nin_shape: ${data.in_shape}\nnum_outputs: ${data.num_outputs}\n"


@pytest.fixture(scope="module")
def node() -> Iterator[OneNode]:
    with one_node() as node:
        yield node


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def launcher(own: Sequence[Path] = (), *, awaits: bool = False, **settings: Any) -> SlurmLauncher:
    return SlurmLauncher(Path("s"), replace(SETTINGS, **settings), own, Console(), awaits=awaits)


def order(number: int, *words: str, own: Sequence[Path] = (), resumes: bool = False) -> Order:
    directory = Path("s") / f"{number}_job"
    directory.mkdir(parents=True, exist_ok=True)
    words = (*WORDS, *words)
    return Order(number, words, directory, resumes, None if resumes else compose(words, own))


def events_of(cluster: SlurmLauncher, take: Callable[[Event], None] = lambda event: None) -> dict[int, Ended]:
    """Wait until all jobs have ended; call `take` with each event."""
    ends: dict[int, Ended] = {}
    until = time.monotonic() + _SECONDS
    while cluster._jobs:
        assert time.monotonic() < until, "the jobs do not end"
        for event in cluster.wait(1):
            take(event)
            if isinstance(event, Ended):
                ends[event.number] = event
    return ends


def weights(number: int) -> dict[str, torch.Tensor]:
    folder = Path("s") / f"{number}_job" / "checkpoints"
    last = json.loads((folder / "manifest.json").read_text())["last"]
    return torch.load(folder / last, weights_only=True)["model"]


def same_bits(one: int, other: int) -> bool:
    return all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_jobs_are_an_array_with_the_config_and_the_code_of_their_start(node: OneNode, tmp_path: Path) -> None:
    """An edit of the module or of the YAML while the jobs wait changes nothing; a failing job has its reason."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "own.yaml").write_text(CONF)
    (tmp_path / "mine.py").write_text(MODULE)
    own = [tmp_path / "conf"]
    cluster = launcher(own)
    orders = [order(0, "model=own", own=own), order(1, "model=own", "optimizer.lr=1e30", own=own)]
    for one in orders:
        cluster.start(one)
    (tmp_path / "mine.py").write_text("raise ImportError('edited')")
    (tmp_path / "conf" / "model" / "own.yaml").write_text("_target_: mine.Other\n")
    cluster.wait(0)
    names = {job.slurm for job in cluster._jobs.values()}
    assert {name.partition("_")[2] for name in names} == {"0", "1"}, "an array"
    assert len({name.partition("_")[0] for name in names}) == 1
    ends = events_of(cluster)
    assert (ends[0].exit_code, ends[0].reason, ends[1].exit_code) == (0, "", 6)
    assert ends[0].summary is not None and ends[0].summary["metrics"]["valid/accuracy"] > 0.05
    assert "diverged" in ends[1].reason or "NaN" in ends[1].reason or "infinite" in ends[1].reason
    assert not list((tmp_path / "s" / "slurm").rglob("job.pickle")), "the file with the secrets is removed"


def test_a_job_that_is_preempted_or_paused_or_loses_its_node_has_the_same_bits(node: OneNode) -> None:
    """Job 0 is never stopped, 1 is preempted, then its node dies, 2 is paused, then resumed; 3 has another seed."""
    cluster = launcher(awaits=True)
    for number in range(4):
        cluster.start(order(number, "model.dropout=0.2", f"seed={int(number == 3)}"))
    told: dict[int, list[float]] = {number: [] for number in range(4)}

    def take(event: Event) -> None:
        if not isinstance(event, Progress):
            return
        told[event.number].append(event.epoch)
        if event.number == 1 and len(told[1]) == 1:
            node.preempt(str(cluster._jobs[1].slurm))
        elif event.number == 2 and len(told[2]) == 1:
            cluster.answer(2, Decision.PAUSE)
        elif event.awaits and (event.number != 1 or len(told[1]) == 2):
            cluster.answer(event.number, Decision.GO_ON)

    until = time.monotonic() + _SECONDS
    ends: dict[int, Ended] = {}
    while len(told[1]) < 3 or len(ends) < 3:
        assert time.monotonic() < until, (told, ends)
        for event in cluster.wait(1):
            take(event)
            if isinstance(event, Ended):
                ends[event.number] = event
        node.hurry(str(cluster._jobs[1].slurm))
    assert [ends[number].exit_code for number in (0, 2, 3)] == [0, 143, 0]
    assert told[1] == [1.0, 1.0, 2.0], "it resumes after the epoch that it was stopped in, and tells of that again"
    cluster.start(order(2, "model.dropout=0.2", "seed=0", resumes=True))
    cluster.wait(0)
    lost = str(cluster._jobs[1].slurm)
    while 2 in cluster._jobs:
        for event in cluster.wait(1):
            if isinstance(event, Progress) and event.awaits and event.number == 2:
                cluster.answer(2, Decision.GO_ON)
    node.fail(lost)
    while "BeginTime" not in node.asked("squeue", "-h", "-j", lost, "-o", "%r"):
        assert time.monotonic() < until + _SECONDS
        assert not cluster.wait(1), "the job is not given up: Slurm requeues it"
    node.start_node()
    time.sleep(5)  # the node still ends what it remembers of the job, which is why Slurm lets it wait
    node.hurry(lost)
    ends = events_of(cluster, lambda event: isinstance(event, Progress) and cluster.answer(1, Decision.GO_ON))
    assert ends[1].exit_code == 0
    assert same_bits(1, 0) and same_bits(2, 0)
    assert not same_bits(3, 0), "the negative control"


def test_a_sweep_that_was_killed_follows_its_jobs_when_it_is_resumed(node: OneNode) -> None:
    """The second launcher submits nothing that is in the queue already; what ended meanwhile is told at once."""
    first = launcher(awaits=True)
    for number in (0, 1):
        first.start(order(number, f"trainer.epochs={2 + number}"))
    while not any(isinstance(event, Progress) for event in first.wait(1)):
        pass
    submitted = {number: job.slurm for number, job in first._jobs.items()}
    second = launcher(awaits=True)
    for number in (0, 1):
        second.start(order(number, f"trainer.epochs={2 + number}", resumes=True))
    second.wait(0)
    assert {number: job.slurm for number, job in second._jobs.items()} == submitted
    second.stop()
    ends = events_of(second)
    assert {end.exit_code for end in ends.values()} == {143}
    second.close()


def test_a_job_that_slurm_ends_has_a_reason(node: OneNode) -> None:
    """One that is cancelled while it waits, one that uses too much memory, and one that exceeds its time limit."""
    cluster = launcher(mem_gb=0.1)
    cluster.start(order(0))
    cluster.wait(0)
    held = launcher()
    held._settings = replace(SETTINGS, additional={"hold": True})
    held.start(order(1))
    held.wait(0)
    node.asked("scancel", str(held._jobs[1].slurm))
    ends = events_of(held) | events_of(cluster)
    assert (ends[1].exit_code, ends[1].is_environments_fault) == (5, False)
    assert ends[1].reason.startswith("cancelled in Slurm (scancel)")
    assert ends[0].exit_code == 5 and "memory" in ends[0].reason and "launch.mem_gb" in ends[0].reason


def test_a_job_that_begins_with_other_weights_has_the_bits_of_a_run_here(node: OneNode) -> None:
    """With `init_from` the config is composed on the node. Negative control: a job that begins anew."""
    assert main([*WORDS, "trainer.threads=1", "seed=5", "hydra.run.dir=first"]) == 0
    first = Path("first").absolute()
    ways = [[f"init_from={first}"], [f"transfer.weights={first}", "transfer.freeze=backbone"], []]
    cluster = launcher()
    for number, words in enumerate(ways):
        made = order(number, *words)
        has_source = made.composed is not None and made.composed.source is not None
        assert has_source == (number == 0)
        cluster.start(replace(made, composed=None) if has_source else made)
    assert [end.exit_code for _, end in sorted(events_of(cluster).items())] == [0, 0, 0]
    for number, words in enumerate(ways):
        assert main([*WORDS, "trainer.threads=1", *words, f"hydra.run.dir=s/1{number}_job"]) == 0
        assert same_bits(number, 10 + number), words
    assert not same_bits(0, 2) and not same_bits(1, 2)


def test_a_job_that_takes_longer_than_the_sweep_lets_it_has_failed_and_is_not_tried_again(node: OneNode) -> None:
    cluster = launcher()
    cluster.most_minutes = 0.05
    cluster.start(order(0, "trainer.epochs=100000"))
    (end,) = events_of(cluster).values()
    assert (end.exit_code, end.is_environments_fault) == (5, False)
    assert end.reason == "stopped after sweep.job_minutes=0.05, before it was done"
    assert 3 <= end.seconds < 60


def test_what_sbatch_refuses_is_said_at_once(node: OneNode) -> None:
    cluster = launcher(partition="nosuch")
    cluster.start(order(0))
    with pytest.raises(ConfigError, match="sbatch refused the jobs: invalid partition specified: nosuch"):
        cluster.wait(1)


def test_the_commands_that_the_page_shows_run(node: OneNode, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As they stand, but for the partition and the GPU, which this cluster does not have; small and short."""
    pages = Path(__file__).parents[3] / "docs" / "sweeps.md"
    shown = [
        line.split()[2:] for line in pages.read_text().splitlines() if line.startswith("    nnrun -m launch=slurm")
    ]
    assert shown
    for number, words in enumerate(shown):
        here = [word for word in words if not word.startswith(("launch.partition", "launch.gpus"))]
        short = [*WORDS, "trainer.epochs=1", "launch.mem_gb=1.5", f"hydra.sweep.dir=page{number}"]
        assert main(["-m", *here, *short]) == 0
        rows = json.loads((tmp_path / f"page{number}" / "sweep.json").read_text())["jobs"]
        assert [row["state"] for row in rows] == ["finished"] * 2
