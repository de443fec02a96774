"""Where a part is measured, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# The name of a row, and its figures.
Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """The device, an empty folder, MNIST's root where there is one; a dry walk takes the least of everything."""

    device: torch.device
    folder: Path
    root: Path | None
    dry: bool

    def steps(self, wet: int) -> int:
        """Return how many steps to take."""
        return 2 if self.dry else wet

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"


Part = Callable[[Place], Iterator[Row]]
