"""Ends bad trials early: whether a trial goes on after a validation, and which paused ones are taken up again.

No trial is ended for good while the search lasts: it is paused, with a checkpoint that resumes to the same bits, and
goes on once it has become good enough among those that came after it. Steps are epochs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Protocol

from nnrun.base.errors import ConfigError
from nnrun.sweeps.seams import Decision, JobState
from nnrun.sweeps.search.trial import Trial

# Of the trials at a rung, one in so many goes on.
_REDUCTION = 3
# The median counts once so many others have come as far.
_LEAST_OTHERS = 4


class Pruner(Protocol):
    """A rule for ending trials early. `is_last` says that there will be no further proposals."""

    def decide(self, trials: Sequence[Trial], trial: Trial, step: int, *, is_last: bool) -> Decision:
        """Say whether a trial goes on, after its report at a step was added to it."""

    def resumable(self, trials: Sequence[Trial], *, is_last: bool) -> list[Trial]:
        """Return the paused trials that deserve more training now, best first."""


class NoPruner:
    """`sweep.prune=none`: every trial runs to its end."""

    def decide(self, trials: Sequence[Trial], trial: Trial, step: int, *, is_last: bool) -> Decision:
        """Let it go on."""
        return Decision.GO_ON

    def resumable(self, trials: Sequence[Trial], *, is_last: bool) -> list[Trial]:
        """Return none: nothing was paused."""
        return []


class MedianPruner:
    """`sweep.prune=median`: pause a trial whose best value is worse than the median of the others at that epoch.

    The median stopping rule of Golovin et al. 2017 (Vizier), with pausing.
    """

    def decide(self, trials: Sequence[Trial], trial: Trial, step: int, *, is_last: bool) -> Decision:
        """Pause a trial that is worse than the median."""
        return Decision.GO_ON if _is_past_pausing(trial, step) or self._holds(trials, trial) else Decision.PAUSE

    def resumable(self, trials: Sequence[Trial], *, is_last: bool) -> list[Trial]:
        """Return the paused trials that are no longer worse than the median."""
        paused = [trial for trial in trials if trial.state is JobState.PAUSED and self._holds(trials, trial)]
        return sorted(paused, key=_rank)

    def _holds(self, trials: Sequence[Trial], trial: Trial) -> bool:
        """Return whether a trial is at least as good as the median of the others at its last epoch."""
        step = trial.last_step
        others = [other.best_by(step) for other in trials if other is not trial and other.last_step >= step]
        return len(others) < _LEAST_OTHERS or trial.best_by(step) <= statistics.median(others)


class AshaPruner:
    """`sweep.prune=asha`: at 1, 3, 9, ... epochs, the best third of all that came as far goes on.

    Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934): a trial pauses at a rung until it is in the best
    third there. Once nothing more is proposed, the best of each rung goes on in any case. `belongs` says of which
    trials a rung consists.
    """

    def __init__(self, first: int = 1, belongs: Callable[[Trial], bool] = lambda _: True) -> None:
        self._first = first
        self._belongs = belongs

    def decide(self, trials: Sequence[Trial], trial: Trial, step: int, *, is_last: bool) -> Decision:
        """Pause a trial that reached a rung and is not among the best there."""
        rung = self._rung_reached(trial, step)
        if rung is None or _is_past_pausing(trial, step):
            return Decision.GO_ON
        return Decision.GO_ON if trial in self._best(trials, rung, is_last=is_last) else Decision.PAUSE

    def resumable(self, trials: Sequence[Trial], *, is_last: bool) -> list[Trial]:
        """Return the paused trials that are now among the best of the rung where they wait, highest rungs first."""
        found: list[tuple[int, int, Trial]] = []
        for trial in trials:
            if trial.state is JobState.PAUSED and self._belongs(trial):
                rung = self._highest_rung(trial.last_step)
                best = self._best(trials, rung, is_last=is_last)
                if trial in best:
                    found.append((-rung, best.index(trial), trial))
        return [trial for _, _, trial in sorted(found, key=lambda item: item[:2])]

    def _rung_reached(self, trial: Trial, step: int) -> int | None:
        """Return the rung that a report at a step reached first, the highest if it reached several."""
        before = max((at for at in trial.reports if at < step), default=0)
        rung = self._highest_rung(step)
        return rung if rung > self._highest_rung(before) else None

    def _highest_rung(self, step: int) -> int:
        """Return the highest rung up to a step; 0 below the first."""
        if step < self._first:
            return 0
        rung = self._first
        while rung * _REDUCTION <= step:
            rung *= _REDUCTION
        return rung

    def _best(self, trials: Sequence[Trial], rung: int, *, is_last: bool) -> list[Trial]:
        """Return those of a rung that go on, best first; of equal ones, the earlier."""
        at = [(trial.first_from(rung), trial) for trial in trials if self._belongs(trial)]
        there = [(value, trial.number, trial) for value, trial in at if value is not None]
        num_best = len(there) // _REDUCTION
        if is_last:
            num_best = max(num_best, 1)
        return [trial for _, _, trial in sorted(there, key=lambda item: item[:2])[:num_best]]


class HyperbandPruner:
    """`sweep.prune=hyperband`: successive halving in brackets, which begin to pause after 1, 3, 9, ... epochs.

    Li et al. 2018 (arXiv 1603.06560), asynchronous: the last bracket pauses nothing. Which bracket a trial is in
    follows from its number.
    """

    def __init__(self, epochs: int) -> None:
        top = 0
        while _REDUCTION ** (top + 1) <= epochs:
            top += 1
        # The paper's sizes: the more brackets pause, the more trials they get.
        sizes = [math.ceil((top + 1) / (halvings + 1) * _REDUCTION**halvings) for halvings in range(top, -1, -1)]
        self._order = _interleaved(sizes)
        self._brackets: list[Pruner] = []
        for number in range(len(sizes)):
            here = AshaPruner(_REDUCTION**number, lambda trial, number=number: self.bracket_of(trial) == number)  # type: ignore[misc]
            self._brackets.append(here if number < top else NoPruner())

    def bracket_of(self, trial: Trial) -> int:
        """Return the bracket of a trial; bracket N begins to pause after 3 ** N epochs."""
        return self._order[trial.number % len(self._order)]

    def decide(self, trials: Sequence[Trial], trial: Trial, step: int, *, is_last: bool) -> Decision:
        """Ask the bracket of the trial."""
        return self._brackets[self.bracket_of(trial)].decide(trials, trial, step, is_last=is_last)

    def resumable(self, trials: Sequence[Trial], *, is_last: bool) -> list[Trial]:
        """Return what each bracket would take up again."""
        return [trial for bracket in self._brackets for trial in bracket.resumable(trials, is_last=is_last)]


def make_pruner(name: str, epochs: int | None) -> Pruner:
    """Return the pruner that `sweep.prune` names; `epochs` is the length of a job, if it is known."""
    if name == "hyperband":
        if epochs is None:
            raise ConfigError(
                "sweep.prune=hyperband needs the length of a job in epochs: set trainer.epochs, or use asha"
            )
        return HyperbandPruner(epochs)
    pruners: dict[str, type[Pruner]] = {"none": NoPruner, "median": MedianPruner, "asha": AshaPruner}
    return pruners[name]()


def _is_past_pausing(trial: Trial, step: int) -> bool:
    """Return whether a trial has reached its last epoch, where pausing would save nothing."""
    return trial.epochs is not None and step >= trial.epochs


def _rank(trial: Trial) -> tuple[float, int]:
    return trial.last_value, trial.number


def _interleaved(sizes: Sequence[int]) -> list[int]:
    """Return numbers of groups, each as often as its size, spread as evenly as possible."""
    order: list[int] = []
    for place in range(1, sum(sizes) + 1):
        lag = [size * place / sum(sizes) - order.count(group) for group, size in enumerate(sizes)]
        order.append(lag.index(max(lag)))
    return order
