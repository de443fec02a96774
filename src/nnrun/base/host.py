"""The host's memory and cores, and how much of them this process may use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_NUM_LOOKS, _LOOK_SECONDS = 5, 0.004
# More than any machine has cores.
MAX_THREADS = 4096
# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
# The largest value that glibc accepts.
_MMAP_BYTES = 32 * 2**20
# The default number of blocks above that size which glibc maps, each on its own.
_USUAL_NUM_MAPPED = 65536
_TRIM_BYTES = 2**30
# The maximum to which glibc itself raises the trim threshold, as a program frees large blocks.
_USUAL_TRIM_BYTES = 2 * _MMAP_BYTES
# Linux lists this process's control groups here; their folders are below the root.
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_LOAD = Path("/proc/loadavg")


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep up to 1 GiB of freed memory; return whether it accepted the setting.

    A training step on a CPU frees and allocates the same activations again and again. By default malloc returns them
    to the kernel each time, which then fills them with zeros: on the small CNN, 40 % of a step (docs/benchmarks.md).
    It would always do so with blocks above 32 MiB, as batches of photos are, which it maps each on its own: here it
    maps none. Other C libraries have no such call, and nothing is changed there.
    """
    return _tell_malloc(_TRIM_BYTES, num_mapped=0)


def give_back_memory() -> None:
    """Tell glibc's malloc to return freed memory to the kernel, and to keep no more from now on than it usually does.

    The earlier setting cannot be queried; a program that trains for a while without nnrun ends up at this one.
    """
    if _tell_malloc(_USUAL_TRIM_BYTES, _USUAL_NUM_MAPPED):
        ctypes.CDLL(None).malloc_trim(0)


def _tell_malloc(trim_bytes: int, num_mapped: int) -> bool:
    """Tell glibc's malloc how much freed memory to keep, and how many blocks to map each on its own; return whether it
    accepted the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    values = {_M_MMAP_THRESHOLD: _MMAP_BYTES, _M_MMAP_MAX: num_mapped, _M_TRIM_THRESHOLD: trim_bytes}
    return all(mallopt(name, value) for name, value in values.items())


def fits_in_memory(num_bytes: int) -> bool:
    """Return whether data takes at most half of the memory that this process may use.

    Half of the total, not of what is free now: a resumed run must get the same answer.
    """
    return num_bytes <= usable_bytes() // 2


def machine_bytes() -> int:
    """Return the machine's memory, regardless of limits."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_bytes() -> int:
    """Return the machine's memory, or the limit that a container or a scheduler gives this process's control group."""
    limits = [machine_bytes()]
    for folder, is_v1 in _control_groups("memory"):
        with contextlib.suppress(OSError, ValueError):  # "max": there is no limit
            limits.append(int(_text(folder / ("memory.limit_in_bytes" if is_v1 else "memory.max"))))
    return min(limits)


def _control_groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of each control group that may limit this process, and whether it is cgroup v1.

    The groups above a group limit it too. Inside a container the path may be the host's, which does not exist there:
    the container's limit is then at the root.
    """
    try:
        lines = _CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP_ROOT / controller if controllers else _CGROUP_ROOT
        path = PurePosixPath(name.lstrip("/"))
        yield from ((root / folder, bool(controllers)) for folder in (path, *path.parents))


def _text(path: Path) -> str:
    """Return the text of a kernel file."""
    return path.read_text(encoding="ascii").strip()


def available_bytes() -> int:
    """Return how much memory another process may take now without harm to the others: 80 % of what is available."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):  # not Linux
        available = machine_bytes()
    available = min(available, usable_bytes())
    return available * 4 // 5


def num_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by the CPU time of its control group.

    A fraction of a core does not count: threads that wait for each other are as slow as the one that is throttled.
    """
    cores = num_cores_by_affinity()
    return max(1, min([cores, *map(int, _shares())]))


def num_cores_by_affinity() -> int:
    """Return the number of cores on which this process may run, whatever share of their time it gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares() -> Iterator[float]:
    """Yield the number of cores that each control group may use, where that is limited."""
    for folder, is_v1 in _control_groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # "max": there is no limit
            if is_v1:
                quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
            else:
                quota, period = _text(folder / "cpu.max").split()
            if int(quota) > 0:
                yield int(quota) / int(period)


def num_others_in_the_way(threads: int) -> int:
    """Return how many threads of other programs run, or wait for a core, where there is no core left for some of ours.

    0 where there is room, or where that is not known. A machine is busy that is so at each of several looks.
    """
    cores, most = os.cpu_count() or 1, 0
    for look in range(_NUM_LOOKS):
        time.sleep(_LOOK_SECONDS if look else 0)
        try:
            others = int(_text(_LOAD).split()[3].partition("/")[0]) - 1
        except (OSError, IndexError, ValueError):  # no Linux
            return 0
        if others + threads <= cores:
            return 0
        most = min(others, most) if look else others
    return most
