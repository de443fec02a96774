"""How far a training has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Best:
    """The best weights so far: the monitored value, and when they were reached. Epochs count from 1."""

    value: float
    epoch: int
    step: int


class Place(NamedTuple):
    """An update of a training: its number, its epoch and its first batch in that epoch, all from 1."""

    step: int
    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"step {self.step:,} (epoch {self.epoch}, batch {self.batch})"


@dataclass
class Progress:
    """How far a training has come: `epoch` is the current one, from 0; `batch` of its batches, `step` updates are done.

    An epoch whose batches are all done is current until it is validated and closed. `validated_step` is the newest
    update that was followed by a validation; 0 for none, and in files of versions that did not save it.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    num_rows: int = 0
    logged_step: int = 0
    best: Best | None = None
    stop_reason: str | None = None
    validated_step: int = 0

    @classmethod
    def from_plain(cls, saved: Mapping[str, Any]) -> Progress:
        """Restore what was saved with dataclasses.asdict."""
        best = saved["best"]
        return cls(**{**saved, "best": Best(**best) if best else None})

    @property
    def epoch_number(self) -> int:
        """The epoch of the newest update, from 1."""
        return self.epoch + (self.batch > 0)

    @property
    def is_within_epoch(self) -> bool:
        """Whether the current epoch continues after the newest validation."""
        return self.batch > 0 and self.stop_reason is None

    @property
    def is_best(self) -> bool:
        """Whether the current weights are the best so far."""
        return self.best is not None and self.best.step == self.step

    @property
    def place(self) -> Place:
        """The next update."""
        return Place(self.step + 1, self.epoch + 1, self.batch + 1)
