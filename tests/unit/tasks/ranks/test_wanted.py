"""Which rank another program made this process, by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from nnrun.base.errors import ResourceError
from nnrun.base.ranks import Rank, become_rank
from nnrun.tasks.ranks.meeting import Meeting
from nnrun.tasks.ranks.wanted import first_host, rank_given, tasks_on

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
}
BY_SRUN = Rank(1, 2, 1, 2, "tcp://127.0.0.1:20217")
# The fourth of five tasks, on the second of two machines.
ON_TWO = {
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_STEP_TASKS_PER_NODE": "3,2",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    ("environment", "devices", "expected"),
    [
        ({}, 1, None),
        ({}, 2, None),
        (TORCHRUN, 1, Rank(3, 4, 1, 2, "env://")),
        (TORCHRUN | {"WORLD_SIZE": "1"}, 1, None),
        # srun also starts independent runs, each with trainer.devices=1.
        (SRUN, 1, None),
        (SRUN, "auto", BY_SRUN),
        (SRUN, 2, BY_SRUN),
        (SRUN, 4, None),
        (SRUN | ON_TWO, 5, Rank(3, 5, 0, 2, "tcp://gpu03:20217")),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "auto", None),
    ],
)
def test_a_rank_is_recognised_by_its_environment(
    environment: Mapping[str, str], devices: object, expected: Rank | None
) -> None:
    assert rank_given(environment, devices) == expected


@pytest.mark.parametrize(("visible", "number"), [("", 1), ("0,1", 1), ("3", 0)])
def test_srun_may_show_each_process_its_own_gpu_alone(visible: str, number: int) -> None:
    rank = rank_given(SRUN | {"CUDA_VISIBLE_DEVICES": visible}, "auto")
    assert rank is not None
    assert (rank.local_index, rank.device_index) == (1, number)


def test_a_first_process_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under srun or torchrun nobody else tells the others: what held the place where they meet is gone."""
    become_rank(Rank(1, 2, 1, 2, f"file://{tmp_path}/place"))
    try:
        meeting = Meeting()
        monkeypatch.setattr(meeting, "_store", SimpleNamespace(check=failing))
        with pytest.raises(ResourceError, match=r"rank 1 does not reach .* \(Connection reset\): one did not start"):
            meeting.begin()
        monkeypatch.setattr("torch.distributed.rendezvous", failing)
        with pytest.raises(ResourceError, match="rank 1 does not reach the other processes"):
            Meeting()
    finally:
        become_rank(Rank())


def failing(*_: object) -> bool:
    raise dist.DistNetworkError("Connection reset\nand a trace")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu7", "gpu7"),
        ("a1,b2", "a1"),
        ("gpu[01-04,7],cpu3", "gpu01"),
        ("gpu[3,9]", "gpu3"),
        ("r[1-2]n[05-06]", "r1n05"),
        ("node-2.cluster.org,node-3.cluster.org", "node-2.cluster.org"),
        ("node[2-3].cluster.org", "node2.cluster.org"),
    ],
)
def test_the_first_of_the_machines_that_slurm_names(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(("words", "tasks"), [("2", [2]), ("2(x3),1", [2, 2, 2, 1]), ("1,4(x2)", [1, 4, 4])])
def test_how_many_tasks_each_machine_has(words: str, tasks: list[int]) -> None:
    assert tasks_on(words) == tasks
