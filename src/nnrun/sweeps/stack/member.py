"""A training that is part of a stack: its loop, which stops before each update, so that all are made together."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nnrun.core.device import wait_for
from nnrun.core.plan import Plan
from nnrun.core.seams.batch import Batch
from nnrun.core.state import TrainState
from nnrun.core.step import Step
from nnrun.core.validation import finish_epoch, validate
from nnrun.core.work import Work

# Outputs that are counted later in the metrics, together: at most so many bytes of them.
_MOST_KEPT_BYTES = 2**22


@dataclass(frozen=True)
class Update:
    """An update that is due: the next batches, those at `indices` in their epoch, with `num_samples` in total."""

    member: Member
    batches: Iterator[Batch]
    indices: range
    num_samples: int


@dataclass(eq=False)
class Member:
    """The state of a training of the stack, what it works with, and how long it runs.

    Members with the same `objective` compute their losses in the same way. `saves_within` says that it saves
    checkpoints within a stretch of updates.
    """

    state: TrainState
    work: Work
    plan: Plan
    objective: str = ""
    saves_within: bool = False
    # Outputs, losses and batches that the metrics do not have yet.
    _uncounted: list[tuple[Tensor, Tensor, Batch]] = field(default_factory=list)
    _num_bytes: int = 0

    @property
    def step(self) -> Step:
        """What makes its updates when it trains alone."""
        assert isinstance(self.work.step, Step), "make_step returns one"
        return self.work.step

    def updates(self) -> Generator[Update, None, None]:
        """Train as `fit` does; yield each update, which the receiver makes before it asks for the next."""
        state, work, plan = self.state, self.work, self.plan
        at = state.progress
        for callback in work.callbacks:
            callback.on_fit_start(state)
        while not plan.is_done(at):
            batches = iter(work.train.epoch(at.epoch, at.batch))
            yield from self._stretch(batches)
            while plan.goes_on(at, work.train.num_batches):
                validate(state, work)
                yield from self._stretch(batches)
            finish_epoch(state, work)
        for callback in work.callbacks:
            callback.on_fit_end(state)

    def _stretch(self, batches: Iterator[Batch]) -> Iterator[Update]:
        """Yield the updates of an epoch until a validation is due or the epoch is over, as `train_stretch` does."""
        state, train, plan = self.state, self.work.train, self.plan
        at = state.progress
        state.set_training()
        try:
            with state.clock.running():
                while plan.goes_on(at, train.num_batches) and not plan.is_validation_due(at):
                    first, last = at.batch, min(at.batch + plan.accumulate, train.num_batches)
                    num_samples = min(last * train.batch_size, train.num_samples) - first * train.batch_size
                    state.is_logged = plan.is_logged(at.step + 1, last, train.num_batches)
                    yield Update(self, batches, range(first, last), num_samples)
                    at.batch = last
                    state.clock.num_samples += num_samples
                    if state.is_logged or self.saves_within:
                        self.count()
                    if at.step % plan.log_every_steps == 0:
                        state.watch.check()
                    for callback in self.work.callbacks:
                        callback.on_step_end(state)
                    self.work.poll()
                wait_for(state.device)  # the clock must not stop before the device does
        finally:
            self.count()
        state.watch.check()

    def keep(self, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Keep the outputs of a batch `(N, ...)` and its losses `(N,)`, to be counted in the metrics."""
        self._uncounted.append((outputs, losses, batch))
        self._num_bytes += outputs.nbytes
        if self._num_bytes > _MOST_KEPT_BYTES:
            self.count()

    def count(self) -> None:
        """Count what was kept in the metrics: all of it as one batch, since the sums are over samples."""
        if not self._uncounted:
            return
        outputs, losses, batches = zip(*self._uncounted, strict=True)
        batch = Batch(
            None,
            torch.cat([each.targets for each in batches]),
            torch.cat([each.weight for each in batches]),
            sum(each.num_samples for each in batches),
            is_full=all(each.is_full for each in batches),
        )
        self._uncounted, self._num_bytes = [], 0
        self.step.objective.train_metric.update(self.state.sums, torch.cat(outputs), torch.cat(losses), batch)
