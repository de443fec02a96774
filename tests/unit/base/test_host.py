"""How much memory this process may use: the machine's, or what its control group leaves it."""

from __future__ import annotations

import os

import pytest

from nnrun.base import host as memory
from nnrun.base.host import available_bytes, fits_in_memory, usable_bytes

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
        # Inside a container: the path is not there, the limit stands at the top.
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
