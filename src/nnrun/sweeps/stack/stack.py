"""A stack: jobs whose runs are prepared one after another, trained together, and ended as each is done."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from nnrun.base.errors import InterruptedRun
from nnrun.base.signals import in_force
from nnrun.base.spinning import SpinsWhileAlone, spin_while_alone
from nnrun.sweeps.seams import Decision, Ended, Event, Order
from nnrun.sweeps.stack.job import StackedJob, StackSetup
from nnrun.sweeps.stack.network import CannotStack
from nnrun.sweeps.stack.together import Together, share_batches
from nnrun.sweeps.stack.trial import stacked


class Stack:
    """Jobs that are trained together. What each computes depends on none of the others, nor on their number."""

    def __init__(self, orders: Sequence[Order], setup: StackSetup) -> None:
        self._jobs = [StackedJob(order, setup) for order in orders]
        self._number = min(order.number for order in orders)
        self._note = setup.note
        self._together: Together | None = None
        self._has_begun = False
        self._watch: SpinsWhileAlone | None = None

    @property
    def has_ended(self) -> bool:
        """Whether all of its jobs have ended."""
        return not self._jobs

    def wait(self, seconds: float) -> Sequence[Event]:
        """Train, and return as soon as a job was validated or has ended, after `seconds` at the latest.

        Each validation that awaits an answer has to be answered before the next call.
        """
        until, stop = time.monotonic() + seconds, in_force()
        events: list[Event] = []
        with stop.deferred():
            if not self._has_begun:
                self._begin()
            while not (events := self._news()) and self._jobs and time.monotonic() < until:
                if stop.heard:
                    self.tell(stop.heard)
                self._advance()
        return events

    def answer(self, number: int, decision: Decision) -> None:
        """Answer the newest validation of a job, if it is one of these."""
        for job in self._jobs:
            if job.order.number == number:
                job.answer(decision)

    def tell(self, number: int) -> None:
        """Pass a signal on to all jobs: they save and stop."""
        for job in self._jobs:
            job.request.note(number)

    def close(self) -> None:
        """End what still runs, without another save."""
        for job in self._jobs:
            if job.member is not None:
                job.fail(InterruptedRun(signal.SIGTERM, at_once=True))
        self._jobs = []
        self._stop_watching()

    def _stop_watching(self) -> None:
        """Let OpenMP's threads spin as by default."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _news(self) -> list[Event]:
        """Return the newest validations and ends; jobs that have ended are dropped."""
        events = [event for job in self._jobs for event in job.events()]
        if self._together is not None:
            events = [replace(event, stack=self._number) if isinstance(event, Ended) else event for event in events]
        self._jobs = [job for job in self._jobs if job.ended is None]
        if not self._jobs:
            self._stop_watching()
        return events

    def _begin(self) -> None:
        """Run all jobs up to their training, and stack those; where that is not possible, each trains alone."""
        self._has_begun = True
        for job in self._jobs:
            job.prepare()
        waiting = [job for job in self._jobs if job.member is not None]
        members = [job.member for job in waiting if job.member is not None]
        if not members:
            return
        # Each thread of Python has a number of its own, and the watch over a job is over the job's thread.
        torch.set_num_threads(waiting[0].num_threads)
        self._watch = spin_while_alone(waiting[0].num_threads) if members[0].state.device.type == "cpu" else None
        if waiting[0].order.is_alone:
            waiting[0].train_alone()
            return
        try:
            network = stacked(members)
        except CannotStack as reason:
            self._note(f"not stacked: {reason}; each job trains by itself")
            for job in waiting:
                job.train_alone()
        else:
            share_batches(members)
            self._together = Together(network, members)

    def _advance(self) -> None:
        """Make the next update of each job, and train up to the one that follows."""
        running = [job for job in self._jobs if job.member is not None]
        for job in running:
            if job.request.heard:
                job.fail(InterruptedRun(job.request.heard))
        assert self._together is not None, "jobs that train alone have ended"
        due = [job for job in running if job.due is not None]
        try:
            self._together([job.due for job in due if job.due is not None])
        except Exception as error:  # of the pass that they share, such as a lack of memory
            for job in due:
                job.fail(error)
        for job in due:
            if job.member is not None and job.member in self._together.failed:
                job.fail(self._together.failed[job.member])
        for job in running:
            if job.member is not None:
                job.go_on()
