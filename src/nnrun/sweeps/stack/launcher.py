"""A launcher that trains jobs together where it can, and has another one run the others."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence

from nnrun.base.signals import in_force
from nnrun.sweeps.orders import check_here
from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Launcher, Order
from nnrun.sweeps.shelves import OwnShelf
from nnrun.sweeps.stack.job import StackSetup
from nnrun.sweeps.stack.reasons import why_never, why_not
from nnrun.sweeps.stack.stack import Stack
from nnrun.tasks.for_sweeps import end_forking, verify_by_forks

# Jobs of one stack, at most: each has its weights, gradients and optimizer in memory.
MOST_JOBS = 64
# How often jobs that run beside a stack are looked at.
_LOOK_SECONDS = 0.2
# Exit codes above this are those of signals.
_SIGNALS = 128


class StackLauncher:
    """Train jobs that fit together as one stack in this process, stack after stack; `beside` runs the others."""

    def __init__(self, setup: LaunchSetup, beside: Launcher) -> None:
        self._setup = setup
        self._beside = beside
        self._waiting: list[Order] = []
        self._waiting_beside: deque[Order] = deque()
        self._running_beside: set[int] = set()
        self._stack: Stack | None = None
        self._said: set[str] = set()
        self._shelf = OwnShelf()
        # Jobs that were stopped before they began.
        self._dropped: list[Event] = []

    @property
    def num_slots(self) -> int:
        """How many jobs run at once, or wait for their stack."""
        return MOST_JOBS + self._beside.num_slots

    def check(self, orders: Sequence[Order]) -> Sequence[Ended]:
        """Run the checks of what may be stacked in this process, where it trains."""
        ours = [order for order in orders if order.composed is not None and not why_never(order.composed)]
        return [*check_here(ours), *self._beside.check([order for order in orders if order not in ours])]

    def start(self, order: Order) -> None:
        """Take a job; it starts in `wait`."""
        reasons = ["it reads a checkpoint"] if order.composed is None else why_never(order.composed)
        if reasons:
            self._waiting_beside.append(order)
            self._note(f"not stacked: {'; '.join(reasons)}")
        else:
            if order.is_alone:
                self._setup.console.note(f"job {order.number}, the best, was trained with others; training it alone")
            verify_by_forks(order.composed)
            self._waiting.append(order)

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened, at once if something did, after `seconds` at the latest."""
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            return dropped
        if self._stack is None and self._waiting:
            self._stack = self._next()
        # A launcher with one place may run its job in this process.
        if self._stack is None or self._beside.num_slots > 1:
            self._fill_beside()
        if self._stack is None:
            return self._wait_beside(seconds)
        events = self._stack.wait(seconds if not self._running_beside else _LOOK_SECONDS)
        self._stack = None if self._stack.has_ended else self._stack
        return events or self._wait_beside(0)

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the newest validation of a job."""
        if number in self._running_beside:
            self._beside.answer(number, decision)
        elif self._stack is not None:
            self._stack.answer(number, decision)

    def stop(self) -> None:
        """Ask the running jobs to save and stop, as by SIGTERM, and drop those that wait; their `Ended` follow."""
        number = in_force().heard or signal.SIGTERM
        self._dropped += [Ended(order.number, _SIGNALS + number) for order in (*self._waiting, *self._waiting_beside)]
        self._waiting, self._waiting_beside = [], deque()
        if self._stack is not None:
            self._stack.tell(number)
        self._beside.stop()

    def close(self) -> None:
        """Kill what still runs, and give back all that was taken."""
        if self._stack is not None:
            self._stack.close()
        self._beside.close()
        self._shelf.close()
        end_forking()

    def _next(self) -> Stack:
        """Take the jobs of the next stack from those that wait: the first, and those that fit with it, if any may."""
        configs = [order.composed for order in self._waiting if order.composed is not None]
        if self._waiting[0].is_alone:
            return self._stack_of([self._waiting.pop(0)])
        reasons = [why_not(configs[0], config) for config in configs]
        orders = [order for order, why in zip(self._waiting, reasons, strict=True) if not why][:MOST_JOBS]
        self._waiting = [order for order in self._waiting if order not in orders]
        for why in filter(None, reasons):
            self._note(f"not all in one stack: {'; '.join(why)}")
        return self._stack_of(orders)

    def _stack_of(self, orders: Sequence[Order]) -> Stack:
        setup = self._setup
        return Stack(orders, StackSetup(setup.own, setup.rules, self._note, setup.decide, self._shelf))

    def _fill_beside(self) -> None:
        """Start jobs that are in no stack, as long as there are places."""
        while self._waiting_beside and len(self._running_beside) < self._beside.num_slots:
            order = self._waiting_beside.popleft()
            self._running_beside.add(order.number)
            self._beside.start(order)

    def _wait_beside(self, seconds: float) -> Sequence[Event]:
        """Return what happened to jobs that are in no stack."""
        if not self._running_beside:
            return ()
        events = self._beside.wait(seconds)
        self._running_beside -= {event.number for event in events if isinstance(event, Ended)}
        return events

    def _note(self, text: str) -> None:
        """Print a note once; with `auto` jobs are stacked without a word."""
        if self._setup.settings.stack is True and text not in self._said:
            self._said.add(text)
            self._setup.console.note(text)
