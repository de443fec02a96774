"""The host's processors: how many there are for this process."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Return how many cores this process may use: where that is not known, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
