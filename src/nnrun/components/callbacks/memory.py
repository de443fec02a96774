"""The peak of the memory that a training uses."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

import torch

from nnrun.core.device import is_gpu


def memory(device: torch.device) -> dict[str, float]:
    """Return the peak bytes in use: of the GPU's allocator, or of the process. Does not wait for the device."""
    if is_gpu(device):
        peak, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return {"memory/peak_bytes": float(peak), "memory/reserved_bytes": float(reserved)}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory/peak_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}


def tell_memory(device: torch.device, record: Callable[[str], None]) -> None:
    """Write the allocator's summary of a GPU to the log, line by line."""
    if is_gpu(device):
        for line in torch.cuda.memory_summary(device).splitlines():
            record(line)
