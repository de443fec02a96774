"""The signals that stop a command. Imports little: a command answers them from its first moment on."""

from __future__ import annotations

import signal

# SLURM warns a job with the last two (`sbatch --signal=USR1@120`); a closed terminal sends the third.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def heard_signals() -> list[signal.Signals]:
    """Return the signals that stop this process: not those that are ignored, as under nohup.

    Nor those with a handler outside Python, which could not be restored.
    """
    return [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def unanswered_signals() -> list[signal.Signals]:
    """Return the signals that stop a call from a program: Ctrl-C, and the others that the program does not handle."""
    return [
        number
        for number in heard_signals()
        if number == signal.SIGINT or (signal.getsignal(number) == signal.SIG_DFL and not _is_caught(number))
    ]


def _is_caught(number: int) -> bool:
    """Return whether a signal has a handler in the kernel's view: perhaps a library's, such as faulthandler's."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - a path costs an import
            caught = next(int(line.split()[1], 16) for line in file if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):  # not Linux
        return False
    return bool(caught >> (number - 1) & 1)
