"""Run the jobs of a sweep side by side, each in a process of its own: a job that dies takes nothing else with it."""

from __future__ import annotations

import functools
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnrun.base.ending import at_the_end, forget
from nnrun.base.invocation import invocation
from nnrun.base.signals import in_force
from nnrun.sweeps.frozen import freeze
from nnrun.sweeps.orders import from_message
from nnrun.sweeps.seams import Decision, Ended, Event, Order, Progress
from nnrun.sweeps.workers.checking import check_apart
from nnrun.sweeps.workers.lending import Lending
from nnrun.sweeps.workers.messages import Channel
from nnrun.sweeps.workers.running import Running
from nnrun.sweeps.workers.slots import Slots
from nnrun.sweeps.workers.starter import Starter, started_ahead

# The longest time that one look counts: a sweep that was suspended for an hour did not run.
_LONG_LOOK_SECONDS = 5.0
# How often a job that its surroundings ended (code 5) is tried again, and after how long.
MAX_RETRIES = 1
_BEFORE_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Wishes:
    """How jobs run: the user's config folders, `sweep.job_minutes`, whether a search answers each validation."""

    own: Sequence[Path] = ()
    minutes: float | None = None
    asks: bool = False


class Workers:
    """A Launcher: processes of this machine, forked from one that has imported torch.

    `choose` returns the slots; it is called when they are first needed, since the jobs may be composed while that
    process imports torch. `say` takes a line about a job that is tried again. Close it, whatever happens.
    """

    def __init__(
        self, choose: Callable[[], Slots], wishes: Wishes | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._choose, self._wishes, self._say = choose, wishes or Wishes(), say
        self._running: dict[int, Running] = {}
        self._events: list[Event] = []
        self._looked = time.monotonic()
        self._is_stopping = False
        self._undoing = at_the_end(self.close)
        self._server = started_ahead()
        self._lending = Lending(self._lend)

    @functools.cached_property
    def _slots(self) -> Slots:
        return self._choose()

    @property
    def num_slots(self) -> int:
        """How many jobs run at once."""
        return self._slots.number

    def check(self, orders: Sequence[Order]) -> Sequence[Ended]:
        """Run the checks that need torch in a process of their own."""
        self._server = self._server or Starter()
        return check_apart(self._server, orders, self._wishes.own, self._say)

    def start(self, order: Order) -> None:
        """Start a job; at most `num_slots` run at once."""
        assert len(self._running) < self.num_slots, "no slot is free"
        self._launch(order, 0)

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened, at once if something did, after `seconds` at the latest."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            self._look(max(0.0, min([left, *self._waits()])))
            if self._events or left <= 0 or (in_force().heard and not self._is_stopping):
                break
        events, self._events = self._events, []
        return events

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the last Progress of a job."""
        if (running := self._running.get(number)) is not None:
            running.is_stopping |= decision is not Decision.GO_ON
            running.channel.send({"answer": decision.value})

    def stop(self) -> None:
        """Ask the running jobs to save and stop, as by SIGTERM; their `Ended` follow."""
        self._is_stopping = True
        for running in list(self._running.values()):
            running.is_stopping = True
            if running.due is None:
                running.ask_to_stop()
            elif running.ended is not None:
                self._finish(running, running.ended)

    def close(self) -> None:
        """Kill what still runs, and give back all that was taken."""
        forget(self._undoing)
        for running in self._running.values():
            running.channel.close()
        if self._server is not None:
            self._server.close(list(self._running))
            self._server = None
        self._running.clear()
        self._lending.close()

    def _launch(self, order: Order, num_retries: int) -> None:
        """Have a process started for a job, and send it its order."""
        if self._server is None:
            self._server = Starter()
        ours, theirs = socket.socketpair()
        running = Running(order, Channel(ours), self._slots.take(), num_retries=num_retries)
        self._running[order.number] = running
        with theirs:
            self._server.start(order, theirs)
        message = {
            "number": order.number,
            "words": list(order.words),
            "directory": str(order.directory),
            "resumes": order.resumes,
            "own": [str(folder) for folder in self._wishes.own],
            "asks": self._wishes.asks,
            "invocation": list(invocation().words),
            "threads": self._slots.threads,
            "environment": self._slots.environment(running.device),
        }
        running.channel.send(message, freeze(order.composed) if order.composed else b"")

    def _waits(self) -> list[float]:
        """Return in how many seconds something is to be done: a job has run too long, or is to be tried again."""
        running, minutes = self._running.values(), self._wishes.minutes
        waits = [it.due - time.monotonic() for it in running if it.due is not None]
        if minutes is not None:
            waits += [max(it.left(minutes), 0.0) for it in running if it.due is None and not it.is_killed]
        return waits

    def _look(self, seconds: float) -> None:
        """Wait for what the processes say, and take it."""
        speaking = {
            running.channel.fileno(): running for running in self._running.values() if not running.channel.is_closed
        }
        control = self._server.control if self._server else None
        # A signal may interrupt this, where nothing is lost, but not what follows.
        ready = select.select([*speaking, *([control.fileno()] if control else [])], [], [], seconds)[0]
        with in_force().held():
            for descriptor in ready:
                if descriptor in speaking:
                    self._hear(speaking[descriptor])
            if control is not None and control.fileno() in ready:
                for message, _ in control.ready():
                    if "ended" in message and message["ended"] in self._running:
                        self._ended(self._running[message["ended"]], message["status"])
                if control.is_closed:
                    self._lose_server()
            self._count_time()

    def _hear(self, running: Running) -> None:
        """Take what a job said. One that has lost the process that started it ends with its socket."""
        for message, _ in running.channel.drained():
            self._lending.hear(running.order.number, message, running.channel.descriptor)
            if "progress" in message:
                told: dict[str, Any] = message["progress"]
                if (device_bytes := told.pop("device_bytes")) is not None:
                    self._slots.learn(*device_bytes)
                self._events.append(Progress(running.order.number, **told))
            if "ended" in message:
                running.ended = from_message(message["ended"])
                if self._server is not None:
                    self._server.preload(message["modules"])
        if running.channel.is_closed and running.is_orphan:
            self._ended(running, -signal.SIGKILL)

    def _lend(self, number: int, file: int | None) -> None:
        """Answer a job that asked for what jobs share."""
        self._running[number].channel.send({"lent": file is not None}, descriptors=None if file is None else [file])

    def _ended(self, running: Running, status: int) -> None:
        """Report the end of a job, or try it again where its surroundings were at fault."""
        if not running.channel.is_closed:
            running.is_orphan = False
            self._hear(running)
        ended = running.conclude(status, self._wishes.minutes)
        running.channel.close()
        self._lending.gone(running.order.number)
        self._slots.give(running.device)
        if not ended.is_environments_fault or running.is_stopping or running.num_retries >= MAX_RETRIES:
            self._finish(running, ended)
            return
        if self._slots.ran_short():
            self._slots.run_less()
        self._say(f"job {running.order.number}: {ended.reason}; trying it again")
        running.ended, running.due = ended, time.monotonic() + _BEFORE_RETRY_SECONDS

    def _finish(self, running: Running, ended: Ended) -> None:
        """Report the end of a job."""
        del self._running[running.order.number]
        self._events.append(ended)

    def _lose_server(self) -> None:
        """Go on without the process that started the jobs: they are told to save, and are tried again."""
        assert self._server is not None, "its socket was closed"
        self._server.close([])
        self._server = None
        for running in list(self._running.values()):
            if running.due is not None:
                continue
            running.is_orphan = True
            if running.channel.is_closed:
                self._ended(running, -signal.SIGKILL)
            else:
                running.ask_to_stop()

    def _count_time(self) -> None:
        """Count the time of the jobs: stop those that ran too long, kill those that do not stop, try others again."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LONG_LOOK_SECONDS), now
        for number, running in list(self._running.items()):
            if running.due is not None:
                if now >= running.due and sum(it.due is None for it in self._running.values()) < self.num_slots:
                    self._launch(replace(running.order, resumes=True), running.num_retries + 1)
                continue
            running.seconds += passed
            if self._wishes.minutes is None or running.left(self._wishes.minutes) > 0:
                continue
            if not running.is_asked:
                running.ask_to_stop()
            elif not running.is_killed and self._server is not None:
                running.is_killed = True
                self._server.control.send({"kill": number})
