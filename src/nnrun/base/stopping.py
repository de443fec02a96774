"""The signals that stop a command. Imports little: a command answers them from its first moment on."""

from __future__ import annotations

import signal

# SLURM warns a job by the last two (`sbatch --signal=USR1@120`); a closed terminal sends the third.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def heard_signals() -> list[signal.Signals]:
    """Return the signals that stop this process; one that is ignored, as under nohup, stays so.

    So does one that other than Python code answers, which could not be put back.
    """
    return [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def unanswered_signals() -> list[signal.Signals]:
    """Return those that stop what a program calls: Ctrl-C, and of the others what the program has no answer to."""
    return [
        number
        for number in heard_signals()
        if number == signal.SIGINT or (signal.getsignal(number) == signal.SIG_DFL and not _is_caught(number))
    ]


def _is_caught(number: int) -> bool:
    """Return whether the kernel knows of an answer to a signal: one of a library's own, as faulthandler's."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - a path costs an import
            caught = next(int(line.split()[1], 16) for line in file if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):  # no Linux
        return False
    return bool(caught >> (number - 1) & 1)
