"""Describe the machine of the measurement, and what else ran on it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from datetime import date
from importlib import metadata
from pathlib import Path

PACKAGES = ("nnrun", "torch", "torchvision", "lightning", "accelerate")
PROC_STAT = Path("/proc/stat")
DISTURBED_FRACTION = 0.05


class OtherWork:
    """Measure how much of the machine other processes used since this object was made (on Linux only)."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._busy = _busy_seconds()
        self._ours = _our_seconds()

    def sentence(self) -> str:
        """Return the fraction of all cores that others used, including other virtual machines; warn if it is large."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return "It is not known what else ran meanwhile."
        others = (busy - self._busy) - (_our_seconds() - self._ours)
        fraction = max(0.0, others / (time.monotonic() - self._started) / (os.cpu_count() or 1))
        sentence = f"Other processes used {fraction:.0%} of the machine meanwhile."
        warning = " **That is too much for reliable figures: measure again on a quiet machine.**"
        return sentence + (warning if fraction > DISTURBED_FRACTION else "")


def measured_environment() -> dict[str, str]:
    """Return the environment of a measured process: Python keeps byte code, as it does for every user by default.

    Where it keeps none (PYTHONDONTWRITEBYTECODE), each start of an editable installation compiles its source anew.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def machine() -> str:
    """Describe the machine and the software in a line or two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    return (
        f"{date.today().isoformat()}, {_processor()}, {cores} cores, {_system()}, "
        f"Python {platform.python_version()}, {versions}, commit {_commit()}"
    )


def _busy_seconds() -> float | None:
    """Return the processor time used by the whole machine, including time stolen by other virtual machines."""
    if not PROC_STAT.exists():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, PROC_STAT.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return _output_of(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor() or platform.machine()


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({platform.machine()})"
    except (OSError, KeyError):
        return platform.platform()


def _commit() -> str:
    here = str(Path(__file__).parent)
    commit = _output_of(["git", "-C", here, "rev-parse", "--short", "HEAD"]) or "unknown"
    dirty = _output_of(["git", "-C", here, "status", "--porcelain", "--untracked-files=no"])
    return commit + (" with changes" if dirty else "")


def _output_of(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
