"""Run in a child process under a limit on address space (ulimit -v), and explain how the child ended.

When memory runs out, the C library, OpenMP or a kernel's threads end a process on the spot, with their own exit codes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from nnrun.base.stopping import heard_signals

# Exit codes of the dynamic loader and of OpenMP when memory runs out; nnrun itself exits with 1 only in sweeps.
_LOADERS, _OPENMPS = 127, 1
_HARD = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def limited_bytes() -> int | None:
    """Return the limit on this process's address space in bytes; None if there is none."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def go_on_in_a_child(words: Sequence[str]) -> int | None:
    """Return None if this process is to do the work, else the exit code of the child that did it."""
    limit = limited_bytes()
    if limit is None or not hasattr(os, "fork"):
        return None
    from nnrun.base.ending import die_with_parent  # noqa: PLC0415 - rarely needed
    from nnrun.base.errors import ResourceError, complain  # noqa: PLC0415

    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        complain([f"{lacking(limit)} ({error.strerror})"])
        return ResourceError.exit_code
    if child == 0:
        # The parent forwards Ctrl-C, so that it arrives once.
        os.setpgid(0, 0)
        die_with_parent(parent)
        return None
    for number in heard_signals():
        signal.signal(number, lambda heard, _: os.kill(child, heard))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    is_lost = code == _LOADERS or (code == _OPENMPS and not {"-m", "--multirun"} & set(words)) or -code in _HARD
    if is_lost:
        complain([f"{lacking(limit)}; saved files are intact"])
        return ResourceError.exit_code
    return code if code >= 0 else 128 - code


def lacking(limit: int) -> str:
    """Return the message for a limit on address space that is too low, and what to do."""
    return (
        f"out of memory: the address space of a process is limited to {limit / 1e9:.1f} GB (ulimit -v), and torch "
        "alone takes about 4 GB; raise the limit, or remove it with ulimit -v unlimited"
    )
