"""Run a network or an artifact on a whole split, in batches of every size, and measure the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.base.meter import meter
from nnrun.core.seams.data import Tree
from nnrun.core.trees import num_samples, samples_of
from nnrun.proof.isolated import Isolated
from nnrun.proof.verdict import BATCH_SIZES, LARGEST_BATCH

_TIMED_CALLS = 30
# How long to run a network whose outputs are known.
_ENOUGH_SECONDS = 0.25
_ROUNDING = 1e-5


class WrongOutputs(Exception):
    """The outputs of an artifact cannot be compared with those of its network."""


@dataclass(frozen=True)
class TimedOutputs:
    """A network's outputs for a whole split, in fp32, and how long it took for some or all of its samples."""

    outputs: Tensor
    num_timed: int
    seconds: float
    latency_ms: float

    @property
    def samples_per_second(self) -> float:
        """The number of samples per second."""
        return self.num_timed / self.seconds


def run_on_split(
    call: Callable[[Tree], Tensor], inputs: Tree, prepare: Callable[[Tree], Tree], known: Tensor | None = None
) -> TimedOutputs:
    """Run a network on all samples, in batches of every size; `prepare` is called before, and not timed.

    If its outputs are `known`, `(N, ...)`, it is run on at most one batch of each size, to measure its speed and to
    check that they are its own.
    """
    length = num_samples(inputs)
    call(prepare(samples_of(inputs, slice(LARGEST_BATCH if known is None else 1))))
    outputs, seconds = [], 0.0
    with meter("verifying", length) as advance:
        for number, part in enumerate(_slices(length)):
            is_enough = known is not None and (number > len(BATCH_SIZES) or seconds > _ENOUGH_SECONDS)
            if part.start < length and not is_enough:
                output, took = _timed(call, prepare(samples_of(inputs, part)))
                outputs.append(output.float())
                seconds += took
                advance(len(output))
    first = [slice(index % length, index % length + 1) for index in range(_TIMED_CALLS)]
    latencies = sorted(_timed(call, prepare(samples_of(inputs, one)))[1] for one in first)
    found = torch.cat(outputs)
    num_timed = len(found)
    if known is not None:
        if not _are_alike(found, known[:num_timed]):
            return run_on_split(call, inputs, prepare)
        found = known
    return TimedOutputs(found, num_timed, seconds, latencies[len(latencies) // 2] * 1000)


def _are_alike(found: Tensor, known: Tensor) -> bool:
    """Return whether two outputs of one network differ only as much as a different batch size explains."""
    scale = max(1.0, known.abs().max().item())
    return found.shape == known.shape and torch.allclose(found, known, 0.0, _ROUNDING * scale, equal_nan=True)


def _slices(length: int) -> Iterator[slice]:
    """Cut a split into batches: one of each small size, then large ones."""
    start = 0
    for size in BATCH_SIZES:
        yield slice(start, start + size)
        start += size
    for first in range(start, length, LARGEST_BATCH):
        yield slice(first, first + LARGEST_BATCH)


def _timed(call: Callable[[Tree], Tensor], batch: Tree) -> tuple[Tensor, float]:
    """Return the output of a call and its seconds, measured in the process that made it."""
    start = time.perf_counter()
    output = call(batch)
    if not isinstance(output, Tensor):
        raise WrongOutputs(f"it returns a {type(output).__name__} for a batch, but its network returns a Tensor")
    return output, call.seconds if isinstance(call, Isolated) else time.perf_counter() - start
