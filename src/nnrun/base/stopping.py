"""The signals that stop a command. Imports little: a command answers them from its first moment on."""

from __future__ import annotations

import signal

# SLURM warns a job by the last two (`sbatch --signal=USR1@120`); a closed terminal sends the third.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def heard_signals() -> list[signal.Signals]:
    """Return the signals that stop this process; one that is ignored, as under nohup, stays so."""
    return [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
