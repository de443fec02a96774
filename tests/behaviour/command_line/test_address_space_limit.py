"""Under a limit on address space: wherever memory lacks, in imports, threads or kernels, code 5 and a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import of_the_machine
from support.command_line import environment

# The command in a process that may have so much, with what is to happen in it instead of a run.
SCRIPT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
sys.argv = ["nnrun", "model=mlp", "trainer.epochs=1", "export=none"]
import nnrun.cli
{instead}
from nnrun.__main__ import main
main()
"""
PLENTY = 64 * 2**30


def run(folder: Path, limit: int, instead: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(limit=limit, instead=instead)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("limit", [600 * 10**6, 2 * 10**9])
def test_too_little_for_torch_is_said(tmp_path: Path, limit: int) -> None:
    done = run(tmp_path, limit)
    assert done.returncode == 5
    assert done.stderr.startswith("nnrun: out of memory")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os._exit(127)", 5),  # the dynamic loader
        ("os._exit(1)", 5),  # OpenMP
        ("os.abort()", 5),
        ("os.kill(os.getpid(), 11)", 5),
        # The negative controls: codes that are nnrun's own.
        ("os._exit(3)", 3),
        ("os._exit(0)", 0),
        ("sys.exit(130)", 130),
    ],
)
def test_a_library_that_ends_the_process_is_reported_with_the_limit(tmp_path: Path, end: str, code: int) -> None:
    done = run(tmp_path, PLENTY, f"nnrun.cli.main = lambda words: {end}")
    assert done.returncode == code
    assert ("the address space of a process is limited to 68.7 GB (ulimit -v)" in done.stderr) == (code == 5)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
    ids=repr,
)
def test_errors_for_want_of_memory_are_resource_errors(error: Exception) -> None:
    """Negative control: another import that fails is not."""
    assert isinstance(of_the_machine(error), ResourceError)
    assert of_the_machine(ImportError("cannot import name 'x'")) is None
