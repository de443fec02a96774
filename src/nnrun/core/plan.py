"""How long a training runs."""

from __future__ import annotations

from dataclasses import dataclass

from nnrun.core.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How long a training runs, how many batches an update takes, and how often it logs and validates.

    The network is validated at the end of every epoch; `validate_every_steps` adds validations within it.
    """

    epochs: int
    total_steps: int
    accumulate: int = 1
    log_every_steps: int = 50
    validate_every_steps: int | None = None

    def goes_on(self, progress: Progress, num_batches: int) -> bool:
        """Return whether to continue the current epoch, of `num_batches`."""
        return progress.batch < num_batches and progress.step < self.total_steps and not progress.stop_reason

    def is_validation_due(self, progress: Progress) -> bool:
        """Return whether the network is to be validated before the next step."""
        every, step = self.validate_every_steps, progress.step
        return every is not None and step % every == 0 and progress.batch > 0 and step != progress.validated_step

    def is_logged(self, step: int, batch: int, num_batches: int) -> bool:
        """Return whether a row of metrics follows update `step`, after `batch` of the `num_batches` of its epoch."""
        every = self.validate_every_steps
        ends = step == self.total_steps or batch == num_batches
        return ends or step % self.log_every_steps == 0 or (every is not None and step % every == 0)

    def is_done(self, progress: Progress) -> bool:
        """Return whether nothing is left to do; an epoch that is trained but not yet closed is unfinished."""
        if progress.epoch >= self.epochs:
            return True
        return progress.batch == 0 and (progress.step >= self.total_steps or progress.stop_reason is not None)
