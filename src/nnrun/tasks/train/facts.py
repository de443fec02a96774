"""What the summary of a run says of its data, its time and its memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from nnrun.assembly.data.opened import Opened
from nnrun.config.interpolation import plain_shapes
from nnrun.core.target_values import target_counts

# The parts that the training's own clock measures, by their keys in `train`.
_OF_TRAINING = {"training": "seconds", "validation": "validation_seconds", "checkpoints": "checkpoint_seconds"}


class Parts:
    """The seconds of the parts of a run, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time of the block for a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - start, 3)


def time_by_part(parts: Parts, train: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each part of a run in their order; `train` is from the summary."""
    trained = {part: round(train[key], 3) for part, key in _OF_TRAINING.items() if train.get(key) is not None}
    before = {part: parts.seconds[part] for part in ("opening", "measuring") if part in parts.seconds}
    return before | trained | {part: seconds for part, seconds in parts.seconds.items() if part not in before}


def peak_memory(device: torch.device) -> dict[str, int]:
    """Return the largest memory of this process so far, and that allocated on a CUDA device, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        found["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return found


def facts_of(data: Opened) -> dict[str, Any]:
    """Return the findings from reading data, its targets, the shape of a sample, and the samples of each split.

    `counts` are the samples of each class or label, in the order of the targets; None for values.
    """
    drawn = {"valid": data.valid_is_drawn, "test": data.test_is_drawn}
    splits = {
        name: {
            "samples": len(split),
            "drawn": drawn.get(name, False),
            "counts": target_counts(split.targets, data.targets) or None,
        }
        for name, split in data.parts.items()
    }
    found = {"targets": data.targets.to_plain(), "in_shape": plain_shapes(data.in_shape), "splits": splits}
    return dict(data.findings.facts) | found
