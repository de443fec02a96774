"""The Search of a sweep: a proposer says what to try, a pruner what goes on; all that is told is kept in order."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nnrun.sweeps.seams import Decision, Expected, JobState, Proposal
from nnrun.sweeps.search.draws import Proposer
from nnrun.sweeps.search.prune import NoPruner, Pruner
from nnrun.sweeps.search.space import Point, Space
from nnrun.sweeps.search.trial import Trial

# The key of a job's length.
_EPOCHS = "trainer.epochs"
# After so many proposals of points that were tried, one is taken from the list of those that were not.
_ATTEMPTS = 20

Event = list[Any]


@dataclass(frozen=True)
class Aim:
    """Whether lower values are better, the number of proposals, and the epochs of a job that does not choose its own.

    Without a number there are as many proposals as there are points. After `minutes` no job is started.
    """

    is_less_better: bool
    trials: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    # The section `trainer` of a job.
    trainer: Mapping[str, Any] = field(default_factory=dict)


class Keeper(Protocol):
    """Files of a search's own in the folder of its sweep."""

    def open(self, folder: Path, trials: Sequence[Trial]) -> None:
        """Begin the files, or bring them up to date."""

    def update(self, trial: Trial) -> None:
        """Write what is new of a trial."""

    def close(self, trials: Sequence[Trial]) -> None:
        """Write that the paused trials were ended early."""


class Searcher:
    """A Search that proposes each point once, and that its `events` bring back; `keeper` writes its own files."""

    def __init__(
        self, space: Space, proposer: Proposer, pruner: Pruner, aim: Aim, keeper: Keeper | None = None
    ) -> None:
        self._space = space
        self._proposer = proposer
        self._pruner = pruner
        self._aim = aim
        self._sign = 1.0 if aim.is_less_better else -1.0
        self._points = space.points()
        self._ends_at = math.inf if aim.minutes is None else time.monotonic() + 60 * aim.minutes
        self._keeper = keeper
        self._is_kept = False
        self.expected = Expected(self._most_trials(), not isinstance(pruner, NoPruner), aim.trainer)
        self.trials: list[Trial] = []
        # Everything that was asked and told, in order, as JSON has it: `recall` makes the same search of it.
        self.events: list[Event] = []

    def keep_in(self, folder: Path) -> None:
        """Keep files of the search's own in the folder of the sweep, from now on."""
        if self._keeper is not None:
            self._keeper.open(folder, self.trials)
            self._is_kept = True

    def count_time(self, seconds: float) -> None:
        """Count the time that an earlier process used: there is less left."""
        self._ends_at -= seconds

    def give_up(self) -> None:
        """Write down that what is still paused was ended early; a longer search may take it up again."""
        if self._keeper is not None and self._is_kept:
            self._keeper.close(self.trials)

    def ask(self) -> Proposal | None:
        """Return what to try next; None if everything was proposed."""
        if self.is_done:
            return None
        known = {tuple(sorted(trial.chosen.items())) for trial in self.trials}
        number = len(self.trials)
        for attempt in range(_ATTEMPTS):
            point, attributes = self._proposer.propose(self.trials, number, attempt)
            chosen = self._space.words(point)
            # The same settings again would train the same network again.
            if tuple(sorted(chosen.items())) not in known:
                return self._add(point, chosen, attributes)
        left = [
            words for words in map(self._space.words, self._points or ()) if tuple(sorted(words.items())) not in known
        ]
        assert left, "a space that cannot be listed has other points"
        return self._add(self._space.point_of(left[0]), left[0], {})

    def _add(self, point: Point, chosen: Mapping[str, str], attributes: dict[str, Any]) -> Proposal:
        """Add a trial, and return its proposal."""
        epochs = int(chosen[_EPOCHS]) if _EPOCHS in chosen else self._aim.epochs
        trial = Trial(len(self.trials), point, chosen, epochs, attributes=attributes)
        self.trials.append(trial)
        self._happened(trial, ["ask", trial.number, dict(chosen)])
        return Proposal(trial.number, dict(chosen))

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be proposed."""
        return self._is_late or len(self.trials) >= self._most_trials()

    def _most_trials(self) -> int:
        """Return how many proposals there are at most."""
        num_points = sys.maxsize if self._points is None else len(self._points)
        return min(num_points, self._aim.trials or sys.maxsize)

    @property
    def _is_late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._ends_at

    def report(self, number: int, step: int, value: float) -> Decision:
        """Take the monitored metric of a trial after `step` epochs, and say what its job shall do.

        The first report of a step counts: others are of validations within an epoch, or of a job that was killed and
        trains it again.
        """
        trial = self.trials[number]
        trial.state = JobState.RUNNING if trial.value is None else trial.state
        if step in trial.reports:
            return Decision.GO_ON
        trial.reports[step] = self._signed(value)
        decision = self._pruner.decide(self.trials, trial, step, is_last=self.is_done)
        if decision is Decision.PAUSE:
            trial.state = JobState.PAUSED
        elif decision is Decision.STOP:
            trial.state = JobState.PRUNED
        self._happened(trial, ["report", number, step, _plain(value)])
        return decision

    def resumable(self) -> Sequence[int]:
        """Return the paused trials that deserve more training now, best first.

        Nothing says that one of them was started again, other than its next report: skip those that run.
        """
        found = [] if self._is_late else self._pruner.resumable(self.trials, is_last=self.is_done)
        if found or not self.is_done or any(trial.state in _UNDER_WAY for trial in self.trials):
            return [trial.number for trial in found]
        # None has finished and none would: the best goes on.
        paused = [trial for trial in self.trials if trial.state is JobState.PAUSED]
        return [trial.number for trial in sorted(paused, key=lambda trial: (trial.last_value, trial.number))[:1]]

    def tell(self, number: int, value: float | None) -> None:
        """Take the final value of a trial; None if its job failed or diverged.

        The same value again, of a job that was stopped in its test and resumed, is no event.
        """
        trial = self.trials[number]
        final = None if value is None or math.isnan(value) else self._signed(value)
        if final is not None and final == trial.value:
            return
        trial.value = final
        trial.state = JobState.FAILED if trial.value is None else JobState.FINISHED
        self._happened(trial, ["tell", number, None if value is None else _plain(value)])

    @property
    def paused(self) -> set[int]:
        """The proposals that were told to pause and have not reported since."""
        return {trial.number for trial in self.trials if trial.state is JobState.PAUSED}

    def recall(self, events: Sequence[Event]) -> None:
        """Bring back a search: ask and tell all of its events again.

        What was proposed then is what counts, even if a newer version of a library would propose something else.
        """
        for kind, number, *rest in events:
            if kind == "ask":
                point, attributes = self._again(number, rest[0])
                self._add(point, rest[0], attributes)
            elif kind == "report":
                self.report(number, rest[0], float(rest[1]))
            else:
                self.tell(number, None if rest[0] is None else float(rest[0]))

    def _again(self, number: int, chosen: Mapping[str, str]) -> tuple[Point, dict[str, Any]]:
        """Return the point of some words, with what the proposer keeps with it if it proposes the same again."""
        for attempt in range(_ATTEMPTS if self._proposer.keeps_attributes else 0):
            point, attributes = self._proposer.propose(self.trials, number, attempt)
            if self._space.words(point) == dict(chosen):
                return point, attributes
        return self._space.point_of(chosen), {}

    def _signed(self, value: float) -> float:
        """Return a value of which lower is better."""
        return math.inf if math.isnan(value) else self._sign * value

    def _happened(self, trial: Trial, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)
        if self._keeper is not None and self._is_kept:
            self._keeper.update(trial)


_UNDER_WAY = (JobState.RUNNING, JobState.FINISHED)


def _plain(value: float) -> float | str:
    """Return a value as JSON has it, which knows no infinity."""
    return value if math.isfinite(value) else str(value)
