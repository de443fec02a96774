"""What a search knows of one of its proposals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnrun.sweeps.seams import JobState
from nnrun.sweeps.search.space import Point


@dataclass(eq=False)
class Trial:
    """A proposal, and what was reported and told of it. Values are such that lower is better; NaN is infinity."""

    number: int
    point: Point
    chosen: Mapping[str, str]
    # The number of epochs of its job, if it is known: nothing is decided after the last.
    epochs: int | None = None
    # The monitored metric by epoch, in the order of the reports.
    reports: dict[int, float] = field(default_factory=dict)
    state: JobState = JobState.RUNNING
    value: float | None = None
    # What the library of the search keeps with the proposal.
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def last_step(self) -> int:
        """The last epoch that was reported; 0 before the first report."""
        return max(self.reports, default=0)

    @property
    def last_value(self) -> float:
        """The newest value: the final one, else that of the last report; infinity before the first."""
        return self.value if self.value is not None else self.reports.get(self.last_step, math.inf)

    def best_by(self, step: int) -> float:
        """Return the best value that was reported up to a step; infinity without a report."""
        return min((value for at, value in self.reports.items() if at <= step), default=math.inf)

    def first_from(self, step: int) -> float | None:
        """Return the value of the first report at a step or after it; None if it has not come so far."""
        reached = [at for at in self.reports if at >= step]
        return self.reports[min(reached)] if reached else None
