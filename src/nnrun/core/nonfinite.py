"""A loss that is NaN or infinite: found without waiting for the device; it ends the training or is skipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DivergedError
from nnrun.core.progress import Place
from nnrun.core.seams.world import World
from nnrun.core.spikes import OddStep, Spikes

# How many numbers are kept before they are joined: each takes a block of the device's memory, which many would fill.
_NUM_APART = 256
# Maximum number of updates that are kept to be replayed.
_MOST_ODD = 20


class FiniteWatch:
    """Keep the loss of every update on the device, and read only at `check` whether they are finite.

    Training after the first bad loss is wasted, but never saved, because a check precedes each save. A loss that is
    bad on one rank is bad on all, so that they end together. `odd` are the updates whose loss was bad or a spike.
    """

    def __init__(self, world: World | None = None) -> None:
        self._world = world or World()
        self.odd: list[OddStep] = []
        self._spikes = Spikes()
        # Numbers that must be finite, one for each update since the last check, and the places of those updates.
        self._numbers: list[Tensor] = []
        self._joined: list[Tensor] = []
        self._places: list[Place] = []
        self._end: Place | None = None

    def note(self, number: Tensor, place: Place) -> None:
        """Keep a number on the device until the next check: NaN or infinite means that the update there is bad."""
        self._numbers.append(number)
        self._places.append(place)
        if len(self._numbers) == _NUM_APART:
            self._joined.append(torch.stack(self._numbers))
            self._numbers.clear()

    def check(self) -> None:
        """Raise DivergedError, naming the update, if an update since the last check ends the training.

        Waits for the device.
        """
        if self._numbers:
            self._joined.append(torch.stack(self._numbers))
        self._world.sum(self._joined)
        values = torch.cat(self._joined).tolist() if self._joined else []  # waits for the device
        for value, place in zip(values, self._places, strict=True):
            is_good = math.isfinite(value)
            if self._end is None and (not is_good or self._spikes.is_spike(value)) and len(self.odd) < _MOST_ODD:
                self.odd.append(OddStep(place, value))
            if self._end is None and self._ends(is_good):
                self._end = place
        self._numbers, self._joined, self._places = [], [], []
        if self._end is not None:
            raise DivergedError(self._reason(self._end))

    def _ends(self, is_good: bool) -> bool:
        """Take the next update in order; return whether it ends the training."""
        return not is_good

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"the loss became NaN or infinite at {place}; try a lower optimizer.lr, trainer.grad_clip_norm=1.0, "
            "trainer.precision=fp32, or trainer.nonfinite=skip, which skips such updates"
        )

    @property
    def num_skipped(self) -> int:
        """The number of updates skipped up to the last check."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state to resume from: none here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class SkippingWatch(FiniteWatch):
    """Count the bad updates, which a SkippingStep skips, and end the training after `max_in_a_row` in a row.

    What that step notes is of all ranks already.
    """

    def __init__(self, max_in_a_row: int) -> None:
        super().__init__()
        self._max_in_a_row = max_in_a_row
        # Skipped updates, and how many of the newest updates in a row were skipped.
        self._skipped, self._in_a_row = 0, 0

    def _ends(self, is_good: bool) -> bool:
        """Count the next update; return whether too many in a row were bad."""
        self._skipped += not is_good
        self._in_a_row = 0 if is_good else self._in_a_row + 1
        return self._in_a_row >= self._max_in_a_row

    @property
    def num_skipped(self) -> int:
        """The number of updates skipped up to the last check."""
        return self._skipped

    def _reason(self, place: Place) -> str:
        """Return why the training ends, and what may help."""
        return (
            f"{self._max_in_a_row} updates in a row had a loss or gradients that are NaN or infinite, up to {place}; "
            "try a lower optimizer.lr, trainer.grad_clip_norm=1.0, or trainer.precision=fp32"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts to resume from. Waits for the device."""
        self.check()
        return {"skipped": self._skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts; a run that did not skip until now has none."""
        self._skipped, self._in_a_row = state.get("skipped", 0), state.get("in_a_row", 0)


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no number in these tensors is NaN or infinite. Waits for the device."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            groups.setdefault(tensor.dtype, []).append(tensor.detach())
    # On a CPU the sum of squares takes a fiftieth of the time, but may overflow though every number is finite.
    return _are_norms_finite(groups, 2.0) or _are_norms_finite(groups, float("inf"))


def _are_norms_finite(groups: Mapping[torch.dtype, list[Tensor]], order: float) -> bool:
    """Return whether tensors, grouped by dtype, all have a finite norm. Waits for the device."""
    norms = [value.float() for group in groups.values() for value in torch._foreach_norm(group, order)]
    return not norms or bool(torch.isfinite(torch.stack(norms)).all())
