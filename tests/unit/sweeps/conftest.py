"""What the tests of the Slurm launcher share: a cluster of shell scripts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm's that print what a file of their name says, and note how they were called."""
    monkeypatch.chdir(tmp_path)
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.calls\ncat {tmp_path}/{name}.says 2>/dev/null\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("nnrun.sweeps.slurm_queue.check_package", lambda what, module: None)
    for name in ("_QUEUE_SECONDS", "_LATE_SECONDS"):
        monkeypatch.setattr(f"nnrun.sweeps.slurm.{name}", -1.0)
    return tmp_path
