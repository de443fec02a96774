"""The jobs of this user in Slurm's queue, and why one left it. Works without accounting (sacct)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import Complaint, ConfigError, ResourceError
from nnrun.base.foreign_errors import check_package

# States in which a job may still run, or run again.
_LIVE = (
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"),
    *("STAGE_OUT", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
)
# What the last state of a job means for a user.
_REASONS = {
    "CANCELLED": "cancelled in Slurm (scancel)",
    "OUT_OF_MEMORY": "out of memory: Slurm ended it; set a larger launch.mem_gb",
    "NODE_FAIL": "its node failed, and Slurm did not put it back into the queue",
    "BOOT_FAIL": "its node did not start",
    "TIMEOUT": "reached launch.minutes, and Slurm ended it before it could put itself back into the queue",
    "DEADLINE": "reached its deadline in Slurm",
    "PREEMPTED": "preempted, and Slurm did not put it back into the queue",
    "HELD": "Slurm could not start it again, and holds it in the queue: it is cancelled",
}
# The reason for which Slurm holds a job back that would wait forever.
_HELD = "launch failed requeued held"
# Those after which another try may succeed.
_OF_THE_MACHINE = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "HELD")
# What slurmstepd writes about a job that it ended for its memory.
_OF_MEMORY = ("exceeded memory limit", "oom_kill event", "oom-kill event")
_TIMEOUT_SECONDS = 60.0
_TAIL_BYTES = 4096


def check_here() -> None:
    """Raise ResourceError where the package, or Slurm itself, is missing."""
    check_package("launch=slurm", "submitit")
    if shutil.which("sbatch") is None:
        raise ResourceError(
            "launch=slurm: there is no sbatch on the PATH; start it on a login node of a Slurm cluster, or use "
            "launch=local"
        )


def check_jobs(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that jobs of a sweep cannot have, ResourceError where Slurm is missing."""
    if (nodes := settings["nodes"]) > 1:
        text = f"launch.nodes={nodes}: a job of a sweep uses one node; leave launch.nodes out"
        raise ConfigError(Complaint("launch.nodes", text))
    check_here()


@dataclass(frozen=True)
class Gone:
    """Why a job is no longer in the queue, as far as Slurm still knows, and whether another try may succeed."""

    state: str
    reason: str
    is_machines_fault: bool = False


class Queue:
    """What Slurm last said of this user's jobs, by their number, such as `12` or, in an array, `12_3`."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None
        self._reasons: dict[str, str] = {}

    def refresh(self) -> bool:
        """Ask Slurm again; return whether it answered."""
        text = _asked("squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", "%i|%T|%r")
        if text is None:
            return False
        rows = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
        self._reasons = {job: reason for job, _, reason in rows}
        self._states = {job: "HELD" if reason == _HELD else state for job, state, reason in rows}
        return True

    def state(self, job: str) -> tuple[str, str] | None:
        """Return the state of a job and the reason for which it waits, in Slurm's words; None where it is not known."""
        state = (self._states or {}).get(job)
        return None if state is None else (state, self._reasons[job])

    def is_live(self, job: str) -> bool:
        """Return whether a job waits or runs. Before Slurm has answered, every job does."""
        return self._states is None or self._states.get(job) in _LIVE

    def why_gone(self, job: str, log: Path) -> Gone:
        """Return why a job is no longer live; of one that used too much memory, only its log may say so."""
        state = (self._states or {}).get(job) or _last_state(job)
        if any(word in _tail(log) for word in _OF_MEMORY):
            state = "OUT_OF_MEMORY"
        known = next((reason for name, reason in _REASONS.items() if state.startswith(name)), None)
        if known is None:
            known = f"left Slurm's queue ({state}) without a word" if state else "left Slurm's queue without a word"
        return Gone(state, known, state.startswith(_OF_THE_MACHINE))


def _tail(log: Path) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def cancel(jobs: Iterable[str], *, only_waiting: bool = False) -> None:
    """Remove jobs from the queue, and unless `only_waiting` end those that run; no error if they are gone."""
    if named := list(jobs):
        _asked("scancel", *(["--state=PENDING"] if only_waiting else []), *named)


def _last_state(job: str) -> str:
    """Return the state that Slurm keeps of a job for some minutes after its end; empty where it has forgotten it."""
    text = _asked("scontrol", "show", "job", "-o", job) or ""
    return next((word.partition("=")[2] for word in text.split() if word.startswith("JobState=")), "")


def _asked(*command: str) -> str | None:
    """Return what a command of Slurm's prints; None where it fails: its controller may be busy, or restart."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
