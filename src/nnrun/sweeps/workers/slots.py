"""How many jobs run at once, with how many threads each, and on which device."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnrun.base.host import available_bytes, num_cores
from nnrun.config.auto import AUTO

# What a job takes at least: torch, and a little data.
_JOB_BYTES = 600 * 2**20
# The part of a GPU's memory that jobs may share, and what each takes besides torch's own: the driver's context.
_DEVICE_SHARE, _CONTEXT_BYTES = 0.9, 600 * 2**20
# Linux lists NVIDIA's GPUs here.
_GPUS = Path("/proc/driver/nvidia/gpus")
# And counts here the processes that it killed because memory ran out.
_COUNTERS = Path("/proc/vmstat")
_VISIBLE, _THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"


@dataclass
class Slots:
    """Places for jobs: `number` at once, each with so many `threads` (None: as many as torch takes).

    With `devices`, each job has one of them to itself, or shares it with others of `per_device` jobs; `is_measured`:
    that number follows from the memory that the first jobs take, and at most `most` jobs share one.
    """

    number: int
    threads: int | None = None
    devices: Sequence[str] = ()
    per_device: int = 1
    is_measured: bool = False
    most: int = 1
    _taken: Counter[str] = field(default_factory=Counter)
    _num_kills: int = 0

    def __post_init__(self) -> None:
        self._num_kills = num_memory_kills()

    def take(self) -> str | None:
        """Take a place; return its device, the one with the fewest jobs."""
        if not self.devices:
            return None
        device = min(self.devices, key=lambda name: self._taken[name])
        self._taken[device] += 1
        return device

    def give(self, device: str | None) -> None:
        """Give a place back."""
        if device is not None:
            self._taken[device] -= 1

    def environment(self, device: str | None) -> dict[str, str]:
        """Return the variables by which a job, and what it starts, keep to their place."""
        threads = {_THREADS: str(self.threads)} if self.threads else {}
        return threads | ({} if device is None else {_VISIBLE: device})

    def learn(self, peak_bytes: int, total_bytes: int) -> None:
        """Share devices among as many jobs as fit, by the memory that one took; never fewer than before."""
        if self.is_measured:
            fitting = int(_DEVICE_SHARE * total_bytes / (peak_bytes + _CONTEXT_BYTES))
            self._share(max(self.per_device, min(fitting, self.most)))

    def ran_short(self) -> bool:
        """Return whether the kernel has killed a process because memory ran out, since this was last asked."""
        before, self._num_kills = self._num_kills, num_memory_kills()
        return self._num_kills > before

    def run_less(self) -> None:
        """Run one job less on each device, or on the host, from now on: memory ran out."""
        if self.devices:
            self.is_measured = False
            self._share(max(1, self.per_device - 1))
        else:
            self.number = max(1, self.number - 1)

    def _share(self, per_device: int) -> None:
        self.per_device, self.number = per_device, per_device * len(self.devices)


@dataclass(frozen=True)
class Needs:
    """What jobs state about their places: how many there are, and their `trainer.device` and `trainer.threads`.

    The number is that of the whole sweep: the number of threads, and with it the last bits of the results, are the same
    when it is resumed.
    """

    num_jobs: int
    devices: frozenset[str] = frozenset({AUTO})
    threads: int | None = None

    @classmethod
    def of(cls, num_jobs: int, trainers: Sequence[Mapping[str, Any]]) -> Needs:
        """Return the needs of jobs with these sections `trainer`."""
        threads = [int(it["threads"]) for it in trainers if it["threads"] != AUTO]
        devices = frozenset(str(it["device"]) for it in trainers)
        return cls(num_jobs, devices or frozenset({AUTO}), max(threads, default=None))


def choose_slots(parallel: int | str, per_device: int | str, needs: Needs) -> Slots:
    """Return the slots for jobs, from `sweep.parallel` and `sweep.jobs_per_device`.

    `auto` is a job for each core that this process may use, as far as the memory lasts; where jobs run on GPUs, one for
    each GPU.
    """
    cores, told = num_cores(), needs.threads or _told_threads()
    if needs.devices == {"cpu"} or not (gpus := visible_gpus()):
        return _on_cores(parallel, cores, told, needs)
    if named := needs.devices - {"cpu", AUTO, "cuda"}:
        # Their numbers are those of all GPUs, so that each job sees all; those on one GPU share it as they are told.
        number = parallel if parallel != AUTO else len(named) * (1 if per_device == AUTO else int(per_device))
        return Slots(int(number), told or max(1, cores // int(number)))
    if parallel != AUTO:
        per_device = -(-int(parallel) // len(gpus)) if per_device == AUTO else per_device
        gpus = gpus[: int(parallel)]
    each, most = 1 if per_device == AUTO else int(per_device), max(1, cores // len(gpus))
    number = len(gpus) * each if parallel == AUTO else int(parallel)
    return Slots(number, told or max(1, cores // number), tuple(gpus), each, per_device == AUTO, most)


def _on_cores(parallel: int | str, cores: int, told: int | None, needs: Needs) -> Slots:
    """Return slots for jobs that compute on the host."""
    if parallel != AUTO:
        return Slots(int(parallel), told or max(1, cores // int(parallel)))
    if sys.platform == "darwin" and needs.devices != {"cpu"}:
        return Slots(1, told)  # its GPU is one that all share
    number = max(1, min(cores // (told or 1), needs.num_jobs))
    fitting = max(1, min(number, available_bytes() // _JOB_BYTES))
    return Slots(fitting, told or max(1, cores // number))


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs may use, by the names that CUDA_VISIBLE_DEVICES takes. Starts no device."""
    if version("torch").endswith("+cpu"):
        return []
    named = os.environ.get(_VISIBLE)
    if named is not None:
        return [name for name in (part.strip() for part in named.split(",")) if name and name != "-1"]
    try:
        return [str(number) for number, _ in enumerate(_GPUS.iterdir())]
    except OSError:
        return []


def num_memory_kills() -> int:
    """Return how often the kernel killed a process because memory ran out; 0 where it does not say."""
    try:
        lines = _COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _told_threads() -> int | None:
    """Return the number of threads that the user set for all programs."""
    named = os.environ.get(_THREADS, "").partition(",")[0]
    return int(named) if named.isdecimal() and int(named) > 0 else None
