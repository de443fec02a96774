"""How long a training goes."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.core.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How long a training goes, how many batches an update takes, and how often the loss is looked at."""

    epochs: int
    total_steps: int
    accumulate: int = 1
    log_every_steps: int = 50

    def is_done(self, progress: Progress) -> bool:
        """Return whether nothing is left to do; an epoch that is trained and not validated is left."""
        if progress.stop_reason or progress.epoch >= self.epochs:
            return True
        return progress.step >= self.total_steps and progress.batch == 0
