"""Run the jobs of a sweep one after another in this process."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial

from nnrun.base.errors import InterruptedRun
from nnrun.base.listening import Validated, heard_by
from nnrun.base.shelf import sharing
from nnrun.base.signals import in_force
from nnrun.sweeps.orders import carry_out, check_here
from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Order, Progress
from nnrun.sweeps.shelves import OwnShelf

# Exit codes above this are those of signals.
_SIGNALS = 128


class OneByOne:
    """A launcher that runs a job while it is waited for; of a job's errors, only an interrupt leaves it."""

    num_slots = 1

    def __init__(self, setup: LaunchSetup) -> None:
        self._setup = setup
        self._next: Order | None = None
        self._ended: list[Event] = []
        self._shelf = OwnShelf()
        # Whether the job was told to pause or to stop.
        self._is_told = False

    def check(self, orders: Sequence[Order]) -> Sequence[Ended]:
        """Run the checks in this process, as the jobs do."""
        return check_here(orders)

    def start(self, order: Order) -> None:
        """Keep a job for the next `wait`."""
        from nnrun.tasks.for_sweeps import verify_by_forks  # noqa: PLC0415 - imports torch, as the jobs do

        verify_by_forks(order.composed)
        self._next = order

    def wait(self, seconds: float) -> Sequence[Event]:
        """Run the job to its end; raise InterruptedRun if it was interrupted."""
        order, self._next, self._is_told = self._next, None, False
        if order is not None:
            with heard_by(partial(self._hear, order.number)), sharing(self._shelf):
                ended = carry_out(order, self._setup.own, self._setup.rules, says=False)
            self._ended.append(ended)
            if self._is_told:
                in_force().forget()
            elif ended.exit_code > _SIGNALS:
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
        """Give back what the jobs shared: none outlives `wait`."""
        from nnrun.tasks.for_sweeps import end_forking  # noqa: PLC0415

        self._shelf.close()
        end_forking()

    def _hear(self, number: int, validated: Validated) -> None:
        """Have a validation answered; a job that shall not go on stops as it would on a signal."""
        progress = Progress(number, validated.epoch, validated.step, validated.metrics, awaits=not validated.is_last)
        if self._setup.decide(progress) is not Decision.GO_ON and not validated.is_last and in_force().heard is None:
            self._is_told = True
            in_force().note(signal.SIGTERM)
