"""Where the time of training steps goes: data, forward, backward, metrics, optimizer. Nothing waits in a step."""

from __future__ import annotations

import time
from itertools import pairwise

import torch

from nnrun.core.device import Mark, is_gpu

PARTS = ("data", "forward", "backward", "metrics", "optimizer")


def unmarked(part: str) -> None:
    """Take a mark that nobody reads."""


class Laps:
    """The time of each part of the steps, told by marks at its end: `laps("forward")`.

    A mark that is not one of PARTS begins a step. On the CPU every step counts. A GPU works behind the host: there only
    armed steps count, by marks in its queue, and they are read later; the end of a step disarms it.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.num_steps = 0
        self.is_armed = not is_gpu(device)
        self._device = device
        self._last = 0.0
        self._marks: list[tuple[str, Mark]] = []

    def __call__(self, part: str) -> None:
        """Mark the end of a part."""
        if not self.is_armed:
            return
        if is_gpu(self._device):
            mark = Mark(is_timed=True)
            mark.set(self._device)
            self._marks.append((part, mark))
            self.is_armed = part != PARTS[-1]
            return
        now = time.perf_counter()
        if part in self.seconds:
            self.seconds[part] += now - self._last
        else:
            self.num_steps += 1
        self._last = now

    def read(self) -> None:
        """Add the times between the marks in a GPU's queue. Waits for the device to reach the last one."""
        if not self._marks:
            return
        self._marks[-1][1].wait()
        for (_, before), (part, mark) in pairwise(self._marks):
            if part in self.seconds:
                self.seconds[part] += before.seconds_to(mark)
        self.num_steps += sum(part not in self.seconds for part, _ in self._marks)
        self._marks = []
