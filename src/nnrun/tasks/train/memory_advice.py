"""Advice for a training that runs out of memory."""

from __future__ import annotations

from nnrun.base.errors import OutOfMemory
from nnrun.config.schema import RunSettings


def out_of_memory(settings: RunSettings, device: str) -> OutOfMemory:
    """Return the error, with the largest smaller batch that divides the current one as advice."""
    batch_size, accumulate = settings.data.batch, settings.trainer.accumulate
    what = f"out of memory on {device} with data.batch_size={batch_size}; the last checkpoint is intact"
    if batch_size == 1:
        return OutOfMemory(f"{what}; the network itself is too large for this device", "a smaller one")
    parts = next(parts for parts in range(2, batch_size + 1) if batch_size % parts == 0)
    smaller = f"data.batch_size={batch_size // parts}"
    same = "which gives the same update (for a network without dropout and BatchNorm)"
    return OutOfMemory(what, f"{smaller} trainer.accumulate={accumulate * parts}, {same}", f"{smaller} alone")
