"""The host: its memory and how much of it may be used, and its processors."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# glibc's names for these are in malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# The largest value that glibc takes.
_MMAP_BYTES = 32 * 2**20
_TRIM_BYTES = 2**30
# What glibc itself raises the other to, at most, as a program frees large blocks.
_USUAL_TRIM_BYTES = 2 * _MMAP_BYTES
# Where Linux says to which control groups this process belongs, and where they are.
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep up to 1 GiB that was freed; return whether it took the setting.

    A training step on a CPU frees and asks for the same activations again and again. By default malloc gives them back
    to the kernel each time, which then fills them with zeros: on the small CNN, 40 % of a step (docs/benchmarks.md).
    Other C libraries have no such call, and nothing is changed there.
    """
    return _tell_malloc(_TRIM_BYTES)


def give_back_memory() -> None:
    """Tell glibc's malloc to give the kernel what was freed, and to keep no more from now on than it does by itself.

    What was set before cannot be asked; that is where a program ends up that trains a while without us.
    """
    if _tell_malloc(_USUAL_TRIM_BYTES):
        ctypes.CDLL(None).malloc_trim(0)


def _tell_malloc(trim_bytes: int) -> bool:
    """Tell glibc's malloc how much to keep that was freed; return whether it took the setting."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, trim_bytes))


def fits_in_memory(num_bytes: int) -> bool:
    """Return whether data takes at most half of the memory that this process may use.

    Of all of it, not of what is free now: a run that is resumed must find the same answer.
    """
    return num_bytes <= usable_bytes() // 2


def machine_bytes() -> int:
    """Return the machine's memory, whoever may use how much of it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_bytes() -> int:
    """Return the machine's memory, or the limit that a container or a scheduler gives this process's control group."""
    try:
        lines = _CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return machine_bytes()
    return min([machine_bytes(), *(limit for line in lines for limit in _limits(line))])


def _limits(line: str) -> Iterator[int]:
    """Yield the limits on memory of a control group and of all above it, for a line of /proc/self/cgroup.

    Inside a container the path may be the host's, which is not there: its own limit then stands at the top.
    """
    _, controllers, name = line.split(":", 2)
    if controllers and "memory" not in controllers.split(","):
        return
    root, file = (_CGROUP_ROOT / "memory", "memory.limit_in_bytes") if controllers else (_CGROUP_ROOT, "memory.max")
    path = PurePosixPath(name.lstrip("/"))
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            yield int((root / folder / file).read_text(encoding="ascii"))


def available_bytes() -> int:
    """Return how much memory another process may take now without harm to the others: most of what is available."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):  # no Linux
        available = machine_bytes()
    available = min(available, usable_bytes())
    return available * 4 // 5


def num_cores() -> int:
    """Return how many cores this process may use: where that is not known, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
