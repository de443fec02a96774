"""How the process of a job ended, in words, where the job itself could not say it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from nnrun.base.confined import lacking, limited_bytes
from nnrun.base.errors import BUG, ResourceError

# What a limit on address space, or a library that has no memory, ends a process with.
_HARD = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
# A job that is stopped before its run begins, or after its end, exits with these and says no more.
_TERMINATED = 128 + signal.SIGTERM
_INTERRUPTED = (_TERMINATED, 128 + signal.SIGINT)
_MEANS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "a library aborted it",
    signal.SIGBUS: "a file that was mapped into memory became shorter, or the disk failed",
    signal.SIGILL: "an instruction that this processor does not have",
    signal.SIGFPE: "a division by zero in a library",
}


@dataclass(frozen=True)
class Ending:
    """An exit code of nnrun's, and the reason for it."""

    exit_code: int
    reason: str


def ending_of(status: int) -> Ending:
    """Return the ending of a job whose process ended in the midst; `status` is as `waitstatus_to_exitcode` has it."""
    if status >= 0:
        return _ending_with(status)
    limit = limited_bytes()
    if limit is not None and -status in _HARD:
        return Ending(ResourceError.exit_code, lacking(limit))
    try:
        number = signal.Signals(-status)
    except ValueError:  # a real-time signal
        return Ending(BUG, f"its process was ended by signal {-status}")
    if number == signal.SIGKILL:
        return Ending(ResourceError.exit_code, "its process was killed (SIGKILL), perhaps because memory ran out")
    if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        return Ending(_TERMINATED, f"its process was ended by {number.name}")
    why = f": {_MEANS[number]}" if number in _MEANS else ""
    return Ending(BUG, f"its process was ended by {number.name}{why}; see the end of its run.log")


def _ending_with(code: int) -> Ending:
    """Return the ending of a job whose process exited in the midst."""
    if code in _INTERRUPTED:
        return Ending(_TERMINATED, "its process was stopped by a signal")
    return Ending(BUG, f"its process ended with exit code {code} in the midst of the run")


def out_of_time(minutes: float) -> Ending:
    """Return the ending of a job that ran too long."""
    return Ending(ResourceError.exit_code, f"stopped after sweep.job_minutes={minutes:g}, before it was done")
