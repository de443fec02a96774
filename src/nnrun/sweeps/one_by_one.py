"""Run the jobs of a sweep one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.base.errors import InterruptedRun
from nnrun.base.signals import in_force
from nnrun.sweeps.orders import carry_out
from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Order

# Exit codes above this are those of signals.
_SIGNALS = 128


class OneByOne:
    """A launcher that runs a job while it is waited for; of a job's errors, only an interrupt leaves it."""

    num_slots = 1

    def __init__(self, setup: LaunchSetup) -> None:
        self._setup = setup
        self._next: Order | None = None
        self._ended: list[Event] = []

    def start(self, order: Order) -> None:
        """Keep a job for the next `wait`."""
        self._next = order

    def wait(self, seconds: float) -> Sequence[Event]:
        """Run the job to its end; raise InterruptedRun if it was interrupted."""
        order, self._next = self._next, None
        if order is not None:
            ended = carry_out(order, self._setup.own, self._setup.rules)
            self._ended.append(ended)
            if ended.exit_code > _SIGNALS:
                raise InterruptedRun(ended.exit_code - _SIGNALS, *filter(None, [ended.reason]))
        events, self._ended = self._ended, []
        return events

    def answer(self, number: int, decision: Decision) -> None:
        """Do nothing: a job in this process is answered by `decide`."""

    def stop(self) -> None:
        """Drop a job that has not begun; one that was interrupted has ended."""
        if self._next is not None:
            self._ended.append(Ended(self._next.number, _SIGNALS + (in_force().heard or 2)))
            self._next = None

    def close(self) -> None:
        """Do nothing: no job outlives `wait`."""
