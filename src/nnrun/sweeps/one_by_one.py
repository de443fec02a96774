"""Run the jobs of a sweep one after another in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from nnrun.base.errors import BUG, InterruptedRun, NnrunError, ResourceError
from nnrun.base.foreign_messages import show_traceback
from nnrun.base.invocation import begin
from nnrun.base.secrets import hide_known, secrets_in_words
from nnrun.base.signals import in_force
from nnrun.config.compose import compose_config
from nnrun.runs.summary import Summary
from nnrun.sweeps.places import LaunchSetup
from nnrun.sweeps.seams import Decision, Ended, Event, Order
from nnrun.tasks.table import perform


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
        """Run the job to its end; raise InterruptedRun or KeyboardInterrupt if it was interrupted."""
        order, self._next = self._next, None
        if order is not None:
            self._ended.append(self._run(order))
        events, self._ended = self._ended, []
        return events

    def answer(self, number: int, decision: Decision) -> None:
        """Do nothing: a job in this process is answered by `decide`."""

    def stop(self) -> None:
        """Drop a job that has not begun; one that was interrupted has ended."""
        if self._next is not None:
            self._ended.append(Ended(self._next.number, 130))
            self._next = None

    def close(self) -> None:
        """Do nothing: no job outlives `wait`."""

    def _run(self, order: Order) -> Ended:
        """Run a job and return how it ended."""
        start, setup, secrets = time.perf_counter(), self._setup, secrets_in_words(order.words)

        def ended(exit_code: int, reason: str = "", summary: Summary | None = None, again: bool = False) -> Ended:
            values = summary.to_json() if summary is not None else None
            seconds = round(time.perf_counter() - start, 3)
            return Ended(order.number, exit_code, hide_known(reason, secrets), values, again, seconds)

        begin()
        try:
            composed = order.composed or compose_config(order.words, setup.own, setup.rules)
            summary = perform(composed, order.words, order.directory)
            assert isinstance(summary, Summary), "a sweep refuses a task that measures nothing"
            return ended(0, summary=summary)
        except (KeyboardInterrupt, InterruptedRun) as error:
            self._ended.append(ended(getattr(error, "exit_code", 130)))
            raise
        except NnrunError as error:
            return ended(error.exit_code, "\n".join(error.messages), again=isinstance(error, ResourceError))
        except (Exception, SystemExit) as error:
            in_force().poll()  # a library may have turned an interrupt into another error
            if os.environ.get("NNRUN_DEBUG") == "1" or not isinstance(error, SystemExit):
                show_traceback()
            return ended(BUG, f"{type(error).__name__}: {error}")
