"""How long a training goes."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.core.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How long a training goes, how many batches an update takes, and how often the loss and the network are looked at.

    The network is validated at the end of every epoch; `validate_every_steps` adds validations within it.
    """

    epochs: int
    total_steps: int
    accumulate: int = 1
    log_every_steps: int = 50
    validate_every_steps: int | None = None

    def goes_on(self, progress: Progress, num_batches: int) -> bool:
        """Return whether the epoch under way, of so many batches, is to be trained further."""
        return progress.batch < num_batches and progress.step < self.total_steps and not progress.stop_reason

    def is_validation_due(self, progress: Progress) -> bool:
        """Return whether the network is to be validated before the next step."""
        every, step = self.validate_every_steps, progress.step
        return every is not None and step % every == 0 and progress.batch > 0 and step != progress.validated_step

    def is_done(self, progress: Progress) -> bool:
        """Return whether nothing is left to do; an epoch that is trained but not yet closed counts as left."""
        if progress.epoch >= self.epochs:
            return True
        return progress.batch == 0 and (progress.step >= self.total_steps or progress.stop_reason is not None)
