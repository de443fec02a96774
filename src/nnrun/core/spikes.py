"""Updates whose loss is odd: NaN, infinite, or a spike. They are kept to be examined later."""

from __future__ import annotations

import statistics
from collections import deque
from typing import NamedTuple

from nnrun.core.progress import Place

# A spike is this many times the median of the losses before it, of which there must be enough.
_FACTOR, _WINDOW, _ENOUGH = 10.0, 50, 20
# It also exceeds this fraction of the first losses: once the loss is small, one wrong sample multiplies it.
_OF_THE_FIRST = 0.5


class OddStep(NamedTuple):
    """An update whose loss is NaN, infinite, or a spike."""

    place: Place
    loss: float


class Spikes:
    """Find spikes of a loss, from finite values in their order."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        # The median of the first losses, once there are enough.
        self._first: float | None = None

    def is_spike(self, loss: float) -> bool:
        """Take the next loss; return whether it is a spike. A spike does not count among the losses before others."""
        if self._first is None:
            self._recent.append(loss)
            if len(self._recent) == _ENOUGH:
                self._first = statistics.median(self._recent)
            return False
        if loss > max(_FACTOR * statistics.median(self._recent), _OF_THE_FIRST * self._first, 0.0):
            return True
        self._recent.append(loss)
        return False
