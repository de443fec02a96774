"""How many processes train together: from `trainer.devices`, or from the program that started this one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace

from nnrun.base.errors import ConfigError
from nnrun.base.guard import is_own_process
from nnrun.base.ranks import Rank, become_rank, this_rank
from nnrun.config.auto import AUTO
from nnrun.config.composed import Composed
from nnrun.config.sharding import exclusions

# Ports for ranks that srun starts: below those that the kernel gives to clients.
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000
# The settings that only a training in several processes reads.
_OF_SEVERAL = {"trainer.strategy": "auto", "trainer.sync_batchnorm": False, "trainer.max_restarts": 0}


def ranks_to_start(composed: Composed, *, is_job: bool) -> int:
    """Return how many processes this one is to start; 1 if it trains itself, alone or as one of several ranks.

    If torchrun or srun started it as a rank, it becomes that rank. Raises ConfigError where several processes do not go
    together with the rest.
    """
    if this_rank().size > 1:
        return 1
    devices = composed.resolved()["trainer"]["devices"]
    if rank := rank_given(os.environ, devices):
        if devices not in {AUTO, rank.size} and composed.named("trainer.devices"):
            raise ConfigError(
                f"trainer.devices={devices}, but {_program(os.environ)} started {rank.size} processes; "
                "leave trainer.devices out"
            )
        become_rank(rank)
        check_number(composed, rank.size, is_job=is_job)
        return 1
    size = _num_devices(composed) if devices == AUTO else devices
    check_number(composed, size, is_job=is_job)
    if size > 1 and sys.platform != "linux":
        raise ConfigError(
            f"trainer.devices={size} starts processes only on Linux; "
            f"use torchrun --nproc-per-node={size} -m nnrun with the same words"
        )
    if size > 1 and not is_own_process():
        raise ConfigError(
            f"trainer.devices={size}: a program's own process cannot be divided; run the command nnrun with these words"
        )
    return int(size)


def check_number(composed: Composed, size: int, *, is_job: bool) -> None:
    """Raise ConfigError for settings that do not go together with a number of processes."""
    trainer, data = composed.resolved()["trainer"], composed.resolved()["data"]
    problems = []
    if size == 1:
        idle = [key for key, none in _OF_SEVERAL.items() if trainer[key.partition(".")[2]] != none]
        problems += [
            f"{key} has no effect: one process trains (trainer.devices=1)" for key in idle if composed.named(key)
        ]
    else:
        if trainer["strategy"] == "fsdp":
            problems += exclusions(composed, trainer["precision"])
        if is_job:
            problems.append(f"trainer.devices={size}: each job of a sweep trains in one process; leave it out")
        if trainer["max_minutes"] is not None:
            problems.append(
                f"trainer.max_minutes cannot be measured with trainer.devices={size}; use trainer.max_steps"
            )
        if data["batch_size"] == AUTO:
            problems.append(f"data.batch_size=auto cannot be measured with trainer.devices={size}; give a number")
        elif data["batch_size"] < size:
            problems.append(
                f"data.batch_size={data['batch_size']} is shared by trainer.devices={size} processes, each of which "
                f"needs a sample; use data.batch_size={size} or more"
            )
    if problems:
        raise ConfigError(*problems)


def _num_devices(composed: Composed) -> int:
    """Return what trainer.devices=auto means: one process for each GPU, unless another device is named.

    Asked in a process of its own: one that has used the driver cannot be divided.
    """
    if composed.resolved()["trainer"]["device"] not in (AUTO, "cuda"):
        return 1
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        import torch  # noqa: PLC0415 - imported already

        os.write(writer, str(torch.cuda.device_count() if torch.cuda.is_available() else 0).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        count = told.read()
    os.waitpid(child, 0)
    return max(1, int(count or 0))


def rank_given(environment: Mapping[str, str], devices: object) -> Rank | None:
    """Return the rank that torchrun or srun made this process; None if it is not one of several.

    srun also starts independent runs: they train together only where trainer.devices says so.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        size, local_size = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        rank = Rank(int(environment["RANK"]), size, int(environment["LOCAL_RANK"]), local_size, "env://")
        return rank if size > 1 else None
    size = int(environment.get("SLURM_STEP_NUM_TASKS") or 1)
    if size == 1 or devices not in (AUTO, size):
        return None
    index, local = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    num_nodes = int(environment.get("SLURM_STEP_NUM_NODES") or 1)
    host = "127.0.0.1" if num_nodes == 1 else first_host(environment["SLURM_STEP_NODELIST"])
    numbers = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    port = _FIRST_PORT + (numbers[0] * 31 + numbers[1]) % _NUM_PORTS
    on_each = environment.get("SLURM_STEP_TASKS_PER_NODE") or str(size)
    node = int(environment.get("SLURM_NODEID") or 0)
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    own = visible != "" and "," not in visible
    return Rank(index, size, local, tasks_on(on_each)[node], f"tcp://{host}:{port}", sees_own_device=own)


def first_host(nodes: str) -> str:
    """Return the first name of a list of Slurm's, such as `gpu01` of `gpu[01-04,7],cpu3`."""
    host, _, rest = nodes.partition("[")
    if "," in host or not rest:
        return host.partition(",")[0]
    inside, _, after = rest.partition("]")
    return host + re.split("[-,]", inside)[0] + first_host(after)


def tasks_on(nodes: str) -> list[int]:
    """Return how many tasks each node has, from Slurm's words for it, such as `2(x3),1`."""
    found = []
    for part in nodes.split(","):
        number, _, times = part.rstrip(")").partition("(x")
        found += [int(number)] * int(times or 1)
    return found


def _program(environment: Mapping[str, str]) -> str:
    """Return the name of the program that started the ranks."""
    return "torchrun" if "TORCHELASTIC_RUN_ID" in environment else "srun"


def rank_started(index: int, size: int, url: str) -> Rank:
    """Return a rank that this process starts, on this machine."""
    return replace(Rank(index, size, index, size, url), launcher=os.getpid())
