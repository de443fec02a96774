"""What comes to a command in a phase: signals, and what else goes wrong at the same moment."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.disk import SmallDisk
from campaigns.nursery import Child
from campaigns.phases import Place
from nnrun.base.errors import ArtifactError, DataError, ResourceError, SweepFailed

# Enough for a status, too little for a cache, a checkpoint or an artifact.
_FEW_BYTES = 2_000
# What every process of a try has in its environment that is not a fork.
MARK = "NNRUN_TORTURE_MARK"


@dataclass(frozen=True)
class Signals:
    """What is sent, one after the other, to the run or to all of its group; and the exit code that answers it."""

    numbers: tuple[signal.Signals, ...]
    code: int
    to_all: bool = False


_TERMINATED, _INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT
SIGNALS: dict[str, Signals] = {
    "INT": Signals((signal.SIGINT,), _INTERRUPTED),
    "TERM": Signals((signal.SIGTERM,), _TERMINATED),
    "HUP": Signals((signal.SIGHUP,), _TERMINATED),
    "USR1": Signals((signal.SIGUSR1,), _TERMINATED),
    "INT twice": Signals((signal.SIGINT, signal.SIGINT), _INTERRUPTED),
    "INT to all": Signals((signal.SIGINT,), _INTERRUPTED, to_all=True),
    "TERM to all": Signals((signal.SIGTERM,), _TERMINATED, to_all=True),
    "TERM while stopped": Signals((signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT), _TERMINATED),
    "stopped for a moment": Signals((signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM), _TERMINATED),
    "KILL": Signals((signal.SIGKILL,), -signal.SIGKILL),
}


@dataclass(frozen=True)
class Fault:
    """What else goes wrong, at the same moment; `codes` are those that it may end a run with."""

    strike: Callable[[Trial, Child], None] = lambda _trial, _child: None
    codes: tuple[int, ...] = ()
    on_small_disk: bool = False
    is_unheard: bool = False
    has_own_images: bool = False


@dataclass(frozen=True)
class Trial:
    """One try."""

    phase: str
    signals: str
    fault: str
    place: Place
    small: SmallDisk | None
    draw: random.Random = field(repr=False)

    @property
    def name(self) -> str:
        """What is tried, in words."""
        return f"{self.phase}, {self.signals}, {self.fault}"


def _limit_files(_trial: Trial, child: Child) -> None:
    """Let no file become larger than it is."""
    with contextlib.suppress(ProcessLookupError):
        hard = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (_FEW_BYTES, hard))


def _fill_disk(trial: Trial, _child: Child) -> None:
    assert trial.small is not None
    trial.small.fill()


def _kill_worker(trial: Trial, child: Child) -> None:
    """Kill one of the processes that the run has started, as the kernel does when memory runs out."""
    if started := processes_of(child.pid) - {child.pid}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(trial.draw.choice(sorted(started)), signal.SIGKILL)


def _replace_files(trial: Trial, _child: Child) -> None:
    """Put pipes that nobody writes to in the place of images: so a network disk behaves that is gone."""
    for image in trial.draw.sample(sorted(trial.place.images.rglob("*.png")), 60):
        image.unlink()
        os.mkfifo(image)


_OF_THE_MACHINE = (ResourceError.exit_code, SweepFailed.exit_code)
FAULTS: dict[str, Fault] = {
    "no fault": Fault(),
    "a limit on files": Fault(_limit_files, _OF_THE_MACHINE),
    "a full disk": Fault(_fill_disk, _OF_THE_MACHINE, on_small_disk=True),
    # The proof of an export calls that a failure of the artifact.
    "a worker killed": Fault(_kill_worker, (*_OF_THE_MACHINE, ArtifactError.exit_code)),
    "nobody listens": Fault(codes=_OF_THE_MACHINE, is_unheard=True),
    "files that never answer": Fault(_replace_files, (DataError.exit_code,), has_own_images=True),
}


def processes_of(group: int, mark: str | None = None) -> set[int]:
    """Return the living processes of a group, and those that have a mark in their environment. Linux only."""
    found = set()
    for folder in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            is_marked = mark is not None and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if state != "Z" and (int(its_group) == group or is_marked):
                found.add(int(folder.name))
    return found
