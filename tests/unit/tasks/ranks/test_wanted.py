"""Which rank another program made this process, by its environment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nnrun.base.errors import ConfigError
from nnrun.base.ranks import Rank
from nnrun.tasks.ranks.wanted import _rank_given

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
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "auto", None),
    ],
)
def test_a_rank_is_recognised_by_its_environment(
    environment: Mapping[str, str], devices: object, expected: Rank | None
) -> None:
    assert _rank_given(environment, devices) == expected


def test_tasks_on_several_machines_are_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="torchrun --nnodes"):
        _rank_given(SRUN | {"SLURM_STEP_NUM_NODES": "2"}, "auto")
