"""A job of a stack: a whole run in a fiber, which waits in its training for the others."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nnrun.base.invocation import quietly
from nnrun.base.listening import Validated, heard_by
from nnrun.base.shelf import Shelf, sharing
from nnrun.base.signals import StopRequest, in_force, lent
from nnrun.base.spinning import end_idle_threads
from nnrun.config.rules import Rules
from nnrun.core.fitting import fitted_by
from nnrun.core.loop import fit
from nnrun.core.plan import Plan
from nnrun.core.state import TrainState
from nnrun.core.work import Work
from nnrun.sweeps.orders import carry_out
from nnrun.sweeps.seams import Decision, Ended, Event, Order, Progress
from nnrun.sweeps.stack.fiber import Fiber
from nnrun.sweeps.stack.member import Member, Update


@dataclass(frozen=True)
class StackSetup:
    """What the jobs of a stack have in common.

    `own` are the user's config folders; `note` takes a line about why jobs are not trained together; `decide` answers
    the validations of those that train by themselves, as one does whose order says so.
    """

    own: Sequence[Path]
    rules: Rules
    note: Callable[[str], None]
    decide: Callable[[Progress], Decision]
    shelf: Shelf


class StackedJob:
    """A job of a stack: its run, the signals that it hears, its newest validation, and how it ended."""

    def __init__(self, order: Order, setup: StackSetup) -> None:
        self.order = order
        self._setup = setup
        self.request = StopRequest()
        self._is_alone = False
        # The update that it waits for, and its validation that was not told yet, or not answered.
        self.due: Update | None = None
        self.asked: Progress | None = None
        self.ended: Ended | None = None
        # How many threads compute for it.
        self.num_threads = 1
        self._fiber: Fiber[Member] = Fiber(self._run)
        self._updates: Generator[Update, None, None] | None = None

    @property
    def member(self) -> Member | None:
        """Its training, while that waits."""
        return self._fiber.paused_with

    def prepare(self) -> None:
        """Run it up to its training."""
        self._fiber.resume()

    def train_alone(self) -> None:
        """Train by itself, to the end of the run, or until a signal stops it or a validation is answered so."""
        self._is_alone = True
        with in_force().passed_to(self.request):
            self._fiber.resume()

    def go_on(self) -> None:
        """Train up to the next update, which the caller makes; at the end of the training, end the run."""
        assert self.member is not None, "it trains"
        self._updates = self._updates or self.member.updates()
        self.due = None
        try:
            self.due = next(self._updates)
        except StopIteration:
            self._fiber.resume()
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the run with an error of its training."""
        self.due = None
        if self._updates is not None:
            self._updates.close()
        self._fiber.resume(error)

    def events(self) -> list[Event]:
        """Return its validation and its end, if they are new; the validation again until it is answered."""
        found = [event for event in (self.asked, self.ended) if event is not None]
        if self.asked is not None and not self.asked.awaits:
            self.asked = None
        return found

    def answer(self, decision: Decision) -> None:
        """Answer its newest validation; a job that is to pause or to stop is saved and ends as by SIGTERM."""
        self.asked = None
        if decision is not Decision.GO_ON:
            self.request.note(signal.SIGTERM)

    def _run(self, _: Fiber[Member]) -> None:
        """Run the job from its config to its summary."""
        setup = self._setup
        with quietly(), lent(self.request), fitted_by(self._fit), heard_by(self._hear), sharing(setup.shelf):
            self.ended = carry_out(self.order, setup.own, setup.rules, says=False)

    def _fit(self, state: TrainState, work: Work, plan: Plan) -> None:
        """Wait until the training is done together with the others, or train alone."""
        self.num_threads = torch.get_num_threads()
        assert self.order.composed is not None, "the launcher takes no other job"
        tree = self.order.composed.resolved()
        objective = json.dumps([tree["problem"], tree["loss"]], sort_keys=True, default=str)
        saves_within = tree["trainer"]["checkpoint_every_steps"] is not None
        end_idle_threads()
        self._fiber.pause(Member(state, work, plan, objective, saves_within))
        if self._is_alone:
            fit(state, work, plan)

    def _hear(self, validated: Validated) -> None:
        """Keep a validation until it is told; one of a job that trains by itself is answered at once."""
        number, metrics = self.order.number, dict(validated.metrics)
        told = Progress(number, validated.epoch, validated.step, metrics, awaits=not validated.is_last)
        if not self._is_alone:
            self.asked = told
        elif self._setup.decide(told) is not Decision.GO_ON and told.awaits:
            self.request.note(signal.SIGTERM)
