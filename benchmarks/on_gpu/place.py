"""Where a part is measured, and the form of its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# The name of a row, and its figures.
Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """The device, an empty folder, and MNIST's root or None; a dry run does the minimum of everything."""

    device: torch.device
    folder: Path
    root: Path | None
    dry: bool

    def steps(self, wet: int) -> int:
        """Return the number of steps: `wet`, or 2 in a dry run."""
        return 2 if self.dry else wet

    def now(self) -> float:
        """Return the time, in seconds, at which the device has done all its work."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"


Part = Callable[[Place], Iterator[Row]]


def attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a row; an error is a finding too, and the rows that follow matter."""
    try:
        return measure()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
