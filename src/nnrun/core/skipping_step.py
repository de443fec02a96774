"""A step that skips bad updates, without waiting for the device."""

from __future__ import annotations

from torch import Tensor

from nnrun.core.multi_tensor import Snapshot
from nnrun.core.passes import make_update
from nnrun.core.seams.batch import Batch
from nnrun.core.step import Step
from nnrun.core.step_if import gradients_of


class SkippingStep(Step):
    """Skip an update whose loss or gradients are NaN or infinite; the state's watch counts them.

    A bad batch does not count in the metrics, and leaves no trace in the network's buffers, such as BatchNorm's
    statistics.
    """

    def backward(self, batch: Batch, num_samples: int) -> Tensor:
        """Add the gradients of a batch, and count it in the metrics unless it is bad; return its share of the loss."""
        network = self.state.network
        before = Snapshot(network.buffers())
        outputs, losses, loss = self.gradients(batch, num_samples)
        self.state.world.sum([loss])
        good = _is_finite(loss)
        before.put_back_unless(good, network.buffers())
        counted = batch._replace(weight=batch.weight * good, is_full=False)
        self.objective.train_metric.update(self.state.sums, outputs, losses, counted)
        return loss

    def apply(self, loss: Tensor) -> None:
        """Do the device's part of an update unless it is bad."""
        self.prepare()
        norm = self.state.grad_norm
        if not self.state.scaler:  # a scaler judges the gradients itself
            loss = loss + (self.state.world.norm(gradients_of(self.state.optimizer)) if norm is None else norm)
        good = _is_finite(loss)
        self.state.watch.note(loss, self.state.progress.place)
        make_update(self.state, good)
        self.finish(good)


def _is_finite(number: Tensor) -> Tensor:
    """Return whether a number is neither NaN nor infinite: in two launches, where torch.isfinite takes four."""
    return number * 0 == 0
