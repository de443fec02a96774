"""Measure a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import calling, lacks_memory
from nnrun.core.objective import Objective
from nnrun.core.seams.batch import Batches
from nnrun.core.seams.problem import Sums


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    objective: Objective,
    batches: Batches,
    device: torch.device,
    poll: Callable[[], None] = lambda: None,
) -> Sums:
    """Return the sums of the metrics over a split, in fp32 and in eval mode; the mode is put back.

    fp32 whatever the training's precision: what is measured is the weights, as they are exported. `poll` is
    called between batches and may raise to stop.
    """
    was_training = network.training
    network.eval()
    sums = objective.eval_metric.init(device)
    try:
        with explaining_memory(device, batches.batch_size):
            for batch in batches.epoch(0):
                poll()
                with calling("model"):
                    outputs = network(batch.inputs)
                objective.eval_metric.update(sums, outputs, objective.losses(outputs, batch), batch)
    finally:
        network.train(was_training)
    return sums


@contextmanager
def explaining_memory(device: torch.device, batch_size: int) -> Iterator[None]:
    """Say what to do where the device's memory does not suffice in the block, which learns nothing of its batches."""
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            raise ResourceError(
                f"out of memory on {device} with data.eval_batch_size={batch_size}; what was saved is whole: "
                f"try data.eval_batch_size={max(batch_size // 2, 1)}"
            ) from error
        raise
