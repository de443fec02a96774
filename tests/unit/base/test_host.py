"""How much memory this process may use: the machine's, or what its control group leaves it; and what it keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nnrun.base import host as memory
from nnrun.base.host import (
    available_bytes,
    fits_in_memory,
    num_cores,
    num_others_in_the_way,
    usable_bytes,
)

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
GIB = 2**30
V1 = "9:name=systemd:/\n4:cpu,memory:/slurm/job_7\n0::/\n"


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """Give the process these control groups, with these limits by file."""

    def give(groups: str | None, files: dict[str, str]) -> None:
        monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
        monkeypatch.setattr(memory, "_CGROUP_ROOT", tmp_path / "root")
        if groups is not None:
            (tmp_path / "groups").write_text(groups)
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return give


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": f"{2 * GIB}\n", "a/memory.max": "max\n"}, 2 * GIB),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": f"{GIB}\n"}, GIB),
        # Inside a container: the path does not exist, the limit is at the root.
        ("0::/docker/0123\n", {"memory.max": f"{GIB}\n"}, GIB),
        (V1, {"memory/slurm/job_7/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("0::/\n", {}, MACHINE),
        (None, {}, MACHINE),
    ],
)
def test_the_lowest_memory_limit_counts(limits, groups, files, expected):
    """Negative control: without a limit, it is the machine's memory."""
    limits(groups, files)
    assert usable_bytes() == expected
    assert fits_in_memory(expected // 2)
    assert not fits_in_memory(expected // 2 + 1)
    assert available_bytes() <= expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        # A fraction of a core does not count, unless it is the only one.
        ("0::/docker/0123\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        (
            "4:cpu,cpuacct:/job\n0::/\n",
            {"cpu/job/cpu.cfs_quota_us": "200000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 8),
        (None, {}, 8),
    ],
)
def test_the_cores_are_those_that_affinity_and_control_groups_leave(limits, monkeypatch, groups, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    limits(groups, files)
    assert num_cores() == expected


@pytest.mark.parametrize(("running", "others"), [("1/90", 0), ("7/90", 0), ("8/90", 7), ("20/90", 19), ("?", 0)])
def test_others_are_in_the_way_where_no_core_is_left(tmp_path, monkeypatch, running, others):
    (tmp_path / "loadavg").write_text(f"0.10 0.20 0.30 {running} 12345\n")
    monkeypatch.setattr(memory, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert num_others_in_the_way(2) == others


# Prints whether the settings were accepted, and in how many pages the kernel put zeros for the second block of 64 MiB:
# before the call, after it, and after it was undone.
FREED_TWICE = """
import ctypes, resource
from nnrun.base.host import give_back_memory, keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def new_pages():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(2**26)))
        libc.memset(block, 1, ctypes.c_size_t(2**26))
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_default, is_accepted = new_pages(), keep_freed_memory()
kept = new_pages()
give_back_memory()
print(int(is_accepted), by_default, kept, new_pages())
"""


def test_freed_blocks_are_kept_whatever_their_size():
    command = [sys.executable, "-c", FREED_TWICE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    is_accepted, by_default, kept, given_back = map(int, done.stdout.split())
    if not is_accepted:
        pytest.skip("this C library has no such setting")
    # A page may have 2 MiB.
    assert by_default >= 32
    assert kept < 8
    assert given_back >= 32
