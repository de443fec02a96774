"""torch.compile: when it pays, and how a network is compiled so that a resumed run gives the same bits."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nnrun.base.foreign_errors import calling
from nnrun.core.device import WITHOUT_GRAPHS, is_gpu
from nnrun.core.randomness import seed_step
from nnrun.core.state import TrainState

# What `auto` assumes on a GPU, both in favor of not compiling: the cost of compiling, and the time that it saves per
# step. It decides by the number of steps: times measured in the run would differ from run to run.
_COMPILING_SECONDS = 60.0
_SAVED_SECONDS_PER_STEP = 0.0002


@dataclass(frozen=True)
class Compilation:
    """Whether a network is compiled, and why."""

    enabled: bool
    reason: str


def choose_compile(wanted: str | bool, device: torch.device, num_steps: int) -> Compilation:
    """Return what `trainer.compile` means for a training of `num_steps`: a function of the config and the machine."""
    if wanted != "auto":
        return Compilation(bool(wanted), "as asked")
    if not is_gpu(device):
        return Compilation(False, f"auto: on {device.type} the speedup seldom pays for the compile time")
    least = round(_COMPILING_SECONDS / _SAVED_SECONDS_PER_STEP)
    if num_steps < least:
        return Compilation(False, f"auto: the run has {num_steps:,} steps; compiling pays off from about {least:,}")
    return Compilation(True, f"auto: the run has {num_steps:,} steps; compiling pays off from about {least:,}")


def compile_network(state: TrainState, inputs: Any) -> float:
    """Compile a network in place for batches like `inputs`, and return the seconds that it took.

    Run a forward and a backward pass, so that no step includes that time, and leave no trace of them. The state dict
    keeps its names. Each shape is compiled separately, since kernels for dynamic shapes give different bits: so the
    bits do not depend on which shape came first, that of a training step or, in a resumed run, that of a validation.
    """
    start = time.perf_counter()
    # On a CPU it logs that there is no GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # Drop the kernels of an earlier job in this process, and their count, which is limited.
    torch.compiler.reset()
    network = state.network
    # Graphs of its own would be recorded within those of a captured step.
    network.compile(dynamic=False, options=WITHOUT_GRAPHS)
    state.set_training()
    buffers = [buffer.clone() for buffer in network.buffers()]
    seed_step(state.device, state.seed, 0, 0)
    with calling("model"):
        with state.precision.autocast(state.device):
            outputs = state.train_module(inputs)
        sum(leaf.float().sum() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)).backward()  # type: ignore[union-attr]
    state.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return time.perf_counter() - start
