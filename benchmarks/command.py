"""Run nnrun as a user does: a command in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from machine import measured_environment


def nnrun(words: Sequence[str], scratch: Path) -> float:
    """Run nnrun away from conf/ here; return the seconds from the creation of its process to its end."""
    command = [sys.executable, "-m", "nnrun", *words]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=scratch, check=False, capture_output=True, text=True, env=measured_environment())
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"nnrun {shlex.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return seconds
