"""A launcher that trains jobs together where it can, and has another one run the others."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence

from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Launcher, Order
from nnrun.sweeps.stack.reasons import why_never, why_not
from nnrun.sweeps.stack.stack import Stack

# Jobs of one stack, at most: each has its weights, gradients and optimizer in memory.
MOST_JOBS = 64


class StackLauncher:
    """Train jobs that fit together as one stack in this process, stack after stack; `beside` runs the others."""

    def __init__(self, setup: LaunchSetup, beside: Launcher) -> None:
        self._setup = setup
        self._beside = beside
        self._waiting: list[Order] = []
        self._waiting_beside: deque[Order] = deque()
        self._beside_running: set[int] = set()
        self._stack: Stack | None = None
        self._said: set[str] = set()
        # The number of the stack that each job was trained in.
        self.stacks: dict[int, int] = {}

    @property
    def num_slots(self) -> int:
        """How many jobs run at once, or wait for their stack."""
        return MOST_JOBS + self._beside.num_slots

    def start(self, order: Order) -> None:
        """Take a job; it starts in `wait`."""
        reasons = ["it reads a checkpoint"] if order.composed is None else why_never(order.composed)
        if reasons:
            self._waiting_beside.append(order)
            self._say(f"not stacked: {'; '.join(reasons)}")
        else:
            self._waiting.append(order)

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened, at once if something did, after `seconds` at the latest."""
        while self._waiting_beside and len(self._beside_running) < self._beside.num_slots:
            order = self._waiting_beside.popleft()
            self._beside_running.add(order.number)
            self._beside.start(order)
        if self._stack is None and self._waiting:
            self._stack = self._next()
        events: list[Event] = []
        if self._stack is not None:
            events += self._stack.wait(seconds)
            self._stack = None if self._stack.has_ended else self._stack
        if self._beside_running:
            events += self._beside.wait(0 if events or self._stack else seconds)
        self._beside_running -= {event.number for event in events if isinstance(event, Ended)}
        return events

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the newest validation of a job."""
        if number in self._beside_running:
            self._beside.answer(number, decision)
        elif self._stack is not None:
            self._stack.answer(number, decision)

    def stop(self) -> None:
        """Ask the running jobs to save and stop, as by SIGTERM; their `Ended` follow."""
        if self._stack is not None:
            self._stack.tell(signal.SIGTERM)
        self._beside.stop()

    def close(self) -> None:
        """Kill what still runs, and give back all that was taken."""
        if self._stack is not None:
            self._stack.close()
        self._beside.close()

    def _next(self) -> Stack:
        """Take the jobs of the next stack from those that wait: the first, and those that fit with it."""
        configs = [order.composed for order in self._waiting if order.composed is not None]
        reasons = [why_not(configs[0], config) for config in configs]
        orders = [order for order, why in zip(self._waiting, reasons, strict=True) if not why][:MOST_JOBS]
        self._waiting = [order for order in self._waiting if order not in orders]
        number = max(self.stacks.values(), default=-1) + 1
        self.stacks |= {order.number: number for order in orders}
        setup = self._setup
        return Stack(orders, setup.own, setup.rules, self._say)

    def _say(self, text: str) -> None:
        """Print a note once."""
        if text not in self._said:
            self._said.add(text)
            self._setup.console.note(text)
