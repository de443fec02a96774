"""Measure a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnrun.base.errors import OutOfMemory
from nnrun.base.foreign_errors import calling, lacks_memory
from nnrun.base.meter import meter
from nnrun.core.objective import Objective
from nnrun.core.seams.batch import Batch, Batches
from nnrun.core.seams.problem import Sums

# Outputs of a split that take more than this are not kept.
MOST_KEPT_BYTES = 2**28


class KeptOutputs:
    """A network's outputs on the samples of a split, in order, as an evaluation computes them, and their losses.

    They stay on the device until they are asked for. If the outputs take more than `most_bytes`, none are kept.
    """

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._spare_bytes = most_bytes
        self._parts: list[Tensor] = []
        self._losses: list[Tensor] = []

    def add(self, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Keep the outputs of a batch, and the loss of each sample, without padding.

        The outputs are copied: a network may write those of the next batch into the same memory.
        """
        self._losses.append(losses[: batch.num_samples])
        outputs = outputs[: batch.num_samples]
        self._spare_bytes -= outputs.nbytes
        if self._spare_bytes < 0:
            self._parts.clear()
        else:
            self._parts.append(outputs.clone())

    def on_host(self) -> Tensor | None:
        """Return the outputs, `(N, ...)` in fp32, on the host; None if they were too large. Waits for the device."""
        return torch.cat(self._parts).float().cpu() if self._parts else None

    def losses_on_host(self) -> Tensor | None:
        """Return the losses, `(N,)` in fp32, on the host; None if there are none. Waits for the device."""
        return torch.cat(self._losses).float().cpu() if self._losses else None


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    objective: Objective,
    batches: Batches,
    poll: Callable[[], None] = lambda: None,
    kept: KeptOutputs | None = None,
) -> Sums:
    """Return the sums of the metrics over a split, in fp32 and in eval mode; restore the mode.

    fp32 whatever the training's precision: the weights are measured as they are exported. `poll` is called between
    batches and may raise to stop. `kept` receives the outputs of each batch.
    """
    was_training = network.training
    network.eval()
    sums = objective.eval_metric.init(batches.device)
    try:
        with (
            explaining_memory(batches.device, batches.batch_size),
            meter("evaluating", batches.num_batches, "batches") as advance,
        ):
            for batch in batches.epoch(0):
                poll()
                outputs, losses = add_batch(sums, network, objective, batch)
                if kept is not None:
                    kept.add(outputs, losses, batch)
                advance(1)
    finally:
        network.train(was_training)
    return sums


def add_batch(sums: Sums, network: nn.Module, objective: Objective, batch: Batch) -> tuple[Tensor, Tensor]:
    """Add a batch to the sums of the metrics; return the network's outputs for it, and the loss of each sample."""
    with calling("model"):
        outputs = objective.loss.take(network(batch.inputs))
    losses = objective.losses(outputs, batch)
    objective.eval_metric.update(sums, outputs, losses, batch)
    return outputs, losses


@contextmanager
def explaining_memory(device: torch.device, batch_size: int) -> Iterator[None]:
    """Turn an out-of-memory error in the block into advice on data.eval_batch_size."""
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            what = f"out of memory on {device} with data.eval_batch_size={batch_size}; saved files are intact"
            raise OutOfMemory(what, f"data.eval_batch_size={max(batch_size // 2, 1)}") from error
        raise
