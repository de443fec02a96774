"""Under a limit on address space (ulimit -v) the work is a child's: whichever way it ends is put in words.

Where memory lacks, the C library, OpenMP or a kernel's threads end a process on the spot, with codes of their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from nnrun.base.stopping import heard_signals

# What a dying library exits with: the dynamic loader, and OpenMP, whose 1 is otherwise a sweep's alone.
_LOADERS, _OPENMPS = 127, 1
_HARD = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def limited_bytes() -> int | None:
    """Return how much address space this process may have; None where that is not limited."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def go_on_in_a_child(words: Sequence[str]) -> int | None:
    """Return None where the work goes on in this process, else the exit code of the child that has done it."""
    limit = limited_bytes()
    if limit is None or not hasattr(os, "fork"):
        return None
    from nnrun.base.ending import die_with_parent  # noqa: PLC0415 - few have such a limit
    from nnrun.base.errors import ResourceError, complain  # noqa: PLC0415

    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        complain([f"{lacking(limit)} ({error.strerror})"])
        return ResourceError.exit_code
    if child == 0:
        # Ctrl-C comes by way of the parent, once.
        os.setpgid(0, 0)
        die_with_parent(parent)
        return None
    for number in heard_signals():
        signal.signal(number, lambda heard, _: os.kill(child, heard))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    is_lost = code == _LOADERS or (code == _OPENMPS and not {"-m", "--multirun"} & set(words)) or -code in _HARD
    if is_lost:
        complain([f"{lacking(limit)}; what was saved is whole"])
        return ResourceError.exit_code
    return code if code >= 0 else 128 - code


def lacking(limit: int) -> str:
    """Return that a limit on address space does not suffice, and what to do."""
    return (
        f"out of memory: the address space of a process is limited to {limit / 1e9:.1f} GB here (ulimit -v), and torch "
        "alone takes some 4 GB; raise the limit, or lift it with ulimit -v unlimited"
    )
