"""One update of the weights from its batches. Nothing in it waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.base.errors import InterruptedRun
from nnrun.core.laps import unmarked
from nnrun.core.objective import Objective
from nnrun.core.passes import backward, clip, forward, make_update, unscale
from nnrun.core.randomness import seed_step
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.problem import mean_loss
from nnrun.core.state import TrainState


@dataclass
class Step:
    """Make updates: add up the gradients of all batches, and let the optimizer make one update from the sum.

    `mark` is told where each part of a step ends.
    """

    state: TrainState
    objective: Objective
    grad_clip_norm: float | None = None
    callbacks: Sequence[Callback] = ()
    mark: Callable[[str], None] = unmarked

    def __call__(self, batches: Iterator[Batch], indices: range, num_samples: int) -> None:
        """Make an update from the next batches, those at `indices` in their epoch, with `num_samples` in total."""
        losses = []
        self.mark("begin")
        for index in indices:
            draws = self.state.world.stream(index)
            seed_step(self.state.device, self.state.seed, self.state.progress.epoch, draws)
            try:
                batch = next(batches)
            except InterruptedRun as interruption:
                # Interrupted while waiting for data: its gradients are in no checkpoint, and other ranks may be ahead.
                interruption.at_once |= index > indices.start or self.state.world.size > 1
                raise
            self.mark("data")
            losses.append(self.backward(batch, num_samples))
            self.mark("metrics")
        self.update(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
        self.mark("optimizer")

    def backward(self, batch: Batch, num_samples: int) -> Tensor:
        """Add the gradients of a batch of an update of `num_samples`, and count it; return its share of the loss."""
        outputs, losses, loss = self.gradients(batch, num_samples)
        self.objective.train_metric.update(self.state.sums, outputs, losses, batch)
        return loss

    def update(self, loss: Tensor) -> None:
        """Make one update from the gradients, clear them, and count it."""
        self.apply(loss)
        self.count()

    def apply(self, loss: Tensor) -> None:
        """Do the device's part of an update."""
        self.prepare()
        self.state.watch.note(loss, self.state.progress.place)
        make_update(self.state)
        self.finish()

    def gradients(self, batch: Batch, num_samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of a batch; return its outputs, the loss of each sample, and the loss they come from."""
        outputs = self.objective.loss.take(forward(self.state, batch.inputs))
        losses = self.objective.losses(outputs, batch)
        loss = mean_loss(losses, batch, num_samples)
        self.mark("forward")
        backward(self.state, loss)
        self.mark("backward")
        return outputs.detach(), losses.detach(), loss.detach()

    def prepare(self) -> None:
        """Prepare the gradients for the update; keep their norm if it is clipped or logged."""
        state = self.state
        state.world.sum_gradients(state.network)
        unscale(state)
        state.grad_norm = clip(state, self.grad_clip_norm)
        for callback in self.callbacks:
            callback.on_gradients_ready(state)

    def finish(self, good: Tensor | None = None) -> None:
        """Clear the gradients, and average the weights; `good`, on the device, says whether an update was made."""
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        if state.ema:
            state.ema.update(state.network, good)

    def count(self) -> None:
        """Do the host's part of an update, after the device's."""
        if self.state.ema:
            self.state.ema.num_updates += 1
        if self.state.schedule:
            self.state.schedule.after_update()
        self.state.progress.step += 1
