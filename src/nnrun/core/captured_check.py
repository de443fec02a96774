"""Check that replayed work has the results of the work itself, and leave no trace of the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nnrun.core.multi_tensor import copy_all

# Kernels that add up in any order differ in the last bits: by this part of the change, and of the largest value.
_OF_CHANGE, _OF_VALUE = 0.05, 1e-6
# A number that a recording took for constant shows in the second update.
_NUM_TIMES = 2


class Differs(Exception):
    """Replayed work has other results."""


class Held:
    """What tensors, by name, held when this was made. Before each piece of work, those in `kept` have that again."""

    def __init__(self, memory: Mapping[str, Tensor], kept: Sequence[str] = ()) -> None:
        self.originals = dict(memory)
        self._memory = {name: tensor.detach() for name, tensor in memory.items()}
        self._before = {name: tensor.clone() for name, tensor in self._memory.items()}
        self._kept = kept
        self._expected: dict[str, Tensor] = {}

    def restore(self) -> None:
        """Give all tensors what they held."""
        copy_all(self._memory.values(), self._before.values())

    def check_kept(self, memory: Mapping[str, Tensor]) -> None:
        """Raise Differs unless these are the same tensors still: a replay writes to those that it was recorded with."""
        if memory.keys() != self.originals.keys():
            raise Differs("an update adds tensors")
        for name, tensor in memory.items():
            if tensor is not self.originals[name]:
                raise Differs(f"{name} is replaced in an update; it must be written in place")

    def expect_after(self, work: Callable[[int], None]) -> None:
        """Keep what `work`, done twice, makes of the tensors, and restore them; it is told which time it is, from 0."""
        self._repeat(work)
        self._expected = {name: tensor.clone() for name, tensor in self._memory.items()}
        self.restore()

    def check_after(self, work: Callable[[int], None]) -> None:
        """Raise Differs unless `work`, done twice, makes of the tensors what is expected; restore them.

        Whole numbers, and with deterministic kernels all numbers, must be equal; others may differ by 5 % of their
        change, or by 1e-6 of the largest value in their tensor. Waits for the device.
        """
        self.restore()
        self._repeat(work)
        try:
            for name, found in self._memory.items():
                expected = self._expected[name]
                if not torch.equal(found, expected):
                    self._compare(name, found, expected)
        finally:
            self.restore()
            self._expected = {}

    def _repeat(self, work: Callable[[int], None]) -> None:
        """Do work twice, each time with what is kept."""
        for turn in range(_NUM_TIMES):
            for name in self._kept:
                self._memory[name].copy_(self._before[name])
            work(turn)

    def _compare(self, name: str, found: Tensor, expected: Tensor) -> None:
        """Raise Differs if a tensor differs by more than the order of sums explains."""
        if not found.is_floating_point():
            raise Differs(f"{name} has other values after a replay")
        ours, theirs, before = (each.double().nan_to_num() for each in (found, expected, self._before[name]))
        gap = float((ours - theirs).abs().max())
        allowed = _OF_CHANGE * float((theirs - before).abs().max()) + _OF_VALUE * float(theirs.abs().max())
        if gap > (0.0 if torch.are_deterministic_algorithms_enabled() else allowed):
            raise Differs(f"{name} differs by {gap:.2g} after a replay; allowed: {allowed:.2g}")
