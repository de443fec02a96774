"""The machine and the code of a run, as environment.json holds them."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from nnrun import __version__
from nnrun.base.files import read_record
from nnrun.base.host import machine_bytes
from nnrun.base.invocation import invocation
from nnrun.base.secrets import redact_word

ENVIRONMENT_SCHEMA = 1
# What Slurm says of the job that a run is in: its number, its machines as Slurm lists them, and its tasks.
_SLURM = {"job": "SLURM_JOB_ID", "nodes": "SLURM_JOB_NODELIST", "tasks": "SLURM_STEP_NUM_TASKS"}
VERSIONED = ("nnrun", "torch", "torchvision", "hydra-core", "omegaconf", "numpy", "onnx", "onnxruntime", "onnxscript")


def environment(threads: int, device: str, secrets: Collection[str] = ()) -> dict[str, Any]:
    """Return versions, hardware and the state of the code, as environment.json holds them."""
    called = invocation()
    slurm = {name: os.environ[variable] for name, variable in _SLURM.items() if variable in os.environ}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version_of(name) for name in VERSIONED},
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": machine_bytes(),
        "device": device,
        "threads": threads,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if (changes := _git("status", "--porcelain")) is None else changes != "",
        "command": [called.program, *(redact_word(word, secrets) for word in called.words)],
        **({"slurm": slurm} if "job" in slurm else {}),
    }


def with_resumed(path: Path, found: Mapping[str, Any], at: str, step: int) -> dict[str, Any]:
    """Return the content of environment.json at a path, with a record of where the run is resumed.

    Where it cannot be read, return what is `found` now.
    """
    earlier = read_record(path)
    if earlier is None:
        return dict(found)
    records = earlier.get("resumed")
    now = {"at": at, "step": step, **found}
    kept = {key: value for key, value in earlier.items() if key != "schema"}
    return {**kept, "resumed": [*(records if isinstance(records, list) else []), now]}


@functools.cache
def version_of(name: str) -> str | None:
    """Return the installed version of a package; nnrun's own also where it runs from its source, uninstalled."""
    if name == "nnrun":
        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """Return git's output in the current directory, or None where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
