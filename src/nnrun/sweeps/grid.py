"""`sweep=grid`: every combination of the listed values that is not excluded, in the order in which they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.base.errors import ConfigError
from nnrun.config.overrides import without_a_search
from nnrun.sweeps.combinations import combine
from nnrun.sweeps.places import SearchSetup
from nnrun.sweeps.seams import Decision, Proposal


class Grid:
    """A search that proposes all combinations, whatever it is told."""

    def __init__(self, setup: SearchSetup) -> None:
        if problems := without_a_search(setup.axes):
            raise ConfigError(*problems)
        self._points = combine(setup.axes, setup.own_settings["zip"], setup.own_settings["exclude"])
        self._num_asked = 0

    def ask(self) -> Proposal | None:
        """Return the next combination; None after the last."""
        if self.is_done:
            return None
        self._num_asked += 1
        return Proposal(self._num_asked - 1, self._points[self._num_asked - 1])

    @property
    def is_done(self) -> bool:
        """Whether all were proposed."""
        return self._num_asked == len(self._points)

    def report(self, number: int, step: int, value: float) -> Decision:
        """Let every job run to its end."""
        return Decision.GO_ON

    def resumable(self) -> Sequence[int]:
        """Return none: nothing is paused."""
        return ()

    def tell(self, number: int, value: float | None) -> None:
        """Take a result, which changes nothing."""
