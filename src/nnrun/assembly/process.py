"""What a job sets for the whole of its process: threads, the allocator, determinism, exact matrix products."""

from __future__ import annotations

import torch

from nnrun.assembly.job import Job
from nnrun.base.errors import ResourceError
from nnrun.base.host import keep_freed_memory
from nnrun.core.device import set_deterministic, set_exact


def set_up_process(job: Job) -> list[str]:
    """Set all of it; return what is said of it. Raises ResourceError where it cannot be had."""
    notes: list[str] = []
    if job.device.type == "cpu":
        keep_freed_memory()
        if job.composed.resumed:
            notes += take_up_threads(job.composed.resumed.threads)
    set_deterministic(job.settings.trainer.deterministic)
    if job.device.type == "cuda":
        set_exact()
    return notes


def take_up_threads(threads: int) -> list[str]:
    """Use as many threads as the run that is resumed did: another number gives other bits. Return what is said of it.

    Raises ResourceError where that many cannot be had.
    """
    if threads == torch.get_num_threads():
        return []
    torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise ResourceError(f"the run used {threads} threads, which this machine does not give")
    return [f"using {threads} threads, as the run did: a different number changes the last bits of the result"]
