"""Choose how many threads compute on the CPU: from `trainer.threads`, and the cores and load of this machine."""

from __future__ import annotations

import os

import torch

from nnrun.assembly.job import Job
from nnrun.base.errors import ResourceError
from nnrun.base.host import num_cores, num_others_in_the_way
from nnrun.base.ranks import this_rank
from nnrun.base.shown import counted
from nnrun.base.spinning import SpinsWhileAlone, spin_while_alone
from nnrun.config.auto import AUTO

# Variables that torch reads at its start.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# From the number of threads that a job set to the number before it, from which the next job of a sweep starts.
_FOUND: dict[int, int] = {}
# The watch over the threads of the latest job, if it needs one.
_WATCHES: list[SpinsWhileAlone] = []
# Notes already returned in this command: a sweep prints them in its first job.
_SAID: set[str] = set()


def choose_threads(job: Job) -> list[str]:
    """Use the number of threads in the config; return notes.

    A number that only a checkpoint states is ignored, since it may come from another machine; a run that is resumed or
    repeated on a CPU uses it, to get the same bits. Raises ResourceError where that many are not available.
    """
    composed, found = job.composed, _found_threads()
    wanted: str | int = job.settings.trainer.threads
    is_continued = (composed.resumed or composed.repeated) is not None and job.device.type == "cpu"
    is_given = composed.named("trainer.threads")
    if composed.saved_in is not None and not is_given and not is_continued:
        wanted = AUTO
    variable = next((name for name in _VARIABLES if os.environ.get(name)), None)
    ranks = this_rank().local_size
    share = found if variable else max(1, min(found, num_cores()) // ranks)
    threads = share if wanted == AUTO else int(wanted)
    _use_threads(threads, found)
    # Other ranks of this run are no other programs.
    others = num_others_in_the_way(threads) if threads > 1 and ranks == 1 else 0
    if job.device.type == "cpu":
        _WATCHES.extend(filter(None, [spin_while_alone(threads, is_busy=others > 0)]))
    notes = []
    if is_continued and not is_given and threads != (found if ranks == 1 else share):
        used = counted(threads, "thread")
        notes.append(f"using {used}, as the run did: a different number changes the last bits of the result")
    elif wanted != AUTO and variable and os.environ[variable] != str(threads):
        notes.append(f"trainer.threads={threads} overrides {variable}={os.environ[variable]}")
    return notes + (_on_a_busy_machine(threads, others) if job.trains else [])


def _found_threads() -> int:
    """Return how many threads torch or its program chose, disregarding what an earlier job set."""
    used = torch.get_num_threads()
    return _FOUND.get(used, used)


def _use_threads(threads: int, found: int) -> None:
    """Make torch use `threads` threads; remember the number that it found."""
    _leave_latest_job()
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise ResourceError(f"trainer.threads={threads}: only {torch.get_num_threads()} are available on this machine")
    _FOUND[threads] = found


def forget_threads() -> None:
    """Stop watching the threads; treat the number that torch uses now as the program's own."""
    _leave_latest_job()
    _SAID.clear()


def _leave_latest_job() -> None:
    """Stop watching the threads of the latest job, and forget what it set."""
    _FOUND.clear()
    while _WATCHES:
        _WATCHES.pop().stop()


def _on_a_busy_machine(threads: int, others: int) -> list[str]:
    """Return a note, once a command, if threads of other programs keep busy the cores that this run would use."""
    if not others or "busy" in _SAID:
        return []
    _SAID.add("busy")
    return [
        f"this machine is busy: {counted(others, 'thread')} of other programs and {threads} of this run share "
        f"{os.cpu_count()} cores. If they stay busy, use trainer.threads=1"
    ]
