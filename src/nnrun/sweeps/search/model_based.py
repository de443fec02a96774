"""`sweep=tpe`, `gp` and `cmaes`: Optuna's samplers choose settings by what the earlier trials reached.

A study is built anew for each proposal, from the trials and a seed of its own: a proposal is a function of the seed,
its number and what was told before, so that a resumed search proposes the same.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.trial import Trial as Asked

from nnrun.sweeps.seams import JobState
from nnrun.sweeps.search.draws import Proposed, RandomDraws
from nnrun.sweeps.search.space import Dimension, Interval, Space, Value
from nnrun.sweeps.search.trial import Trial

# A model that proposed the same point so often would propose it again: then the point is drawn.
_ATTEMPTS = 3
# What a trial that failed counts as where none was measured.
_WORST = 1e9
# Paused and pruned trials: measured, but only up to a rung.
_PARTIAL = (JobState.PAUSED, JobState.PRUNED)


class ModelBased:
    """Propose by Optuna's sampler `name`, after `startup` trials that are drawn at random."""

    def __init__(self, name: str, space: Space, seed: int, startup: int) -> None:
        self._name = name
        self._space = space
        self._seed = seed
        self._startup = startup
        self._draws = RandomDraws(space, seed)
        self.keeps_attributes = name == "cmaes"
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def propose(self, trials: Sequence[Trial], number: int, attempt: int) -> Proposed:
        """Let the sampler choose each setting that exists beside those chosen so far."""
        num_seen = sum(trial.state is not JobState.RUNNING for trial in trials)
        if num_seen < self._startup or attempt >= _ATTEMPTS:
            return self._draws.propose(trials, number, attempt)
        with warnings.catch_warnings():
            # The parts of Optuna that conditional settings need are marked as experimental.
            warnings.simplefilter("ignore")
            study = optuna.create_study(sampler=self._sampler(number, attempt))
            study.add_trials(_as_seen(trial, self._space, self._name, trials) for trial in trials)
            asked = study.ask()
            point: dict[str, Value] = {}
            for item in self._space.in_order():
                if self._space.exists(item.key, point):
                    point[item.key] = _suggested(asked, item)
        attributes = study.trials[-1].system_attrs if self.keeps_attributes else {}
        return point, dict(attributes)

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        """Return the sampler of a trial, with a seed of its own."""
        digest = hashlib.sha256(f"{self._seed}/{number}/{attempt}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if self._name == "gp":
            return GPSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
        if self._name == "cmaes":
            return CmaEsSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
        return TPESampler(seed=seed, n_startup_trials=0, group=True)


def _suggested(asked: Asked, item: Dimension) -> Value:
    """Return what the sampler suggests for a dimension, rounded as it will be typed."""
    if isinstance(item, Interval):
        suggest = asked.suggest_int if item.is_whole else asked.suggest_float
        return item.rounded(suggest(item.key, item.low, item.high, log=item.is_log))  # type: ignore[arg-type]
    last = len(item.words) - 1
    if item.is_ordered:
        return asked.suggest_int(item.key, 0, last)
    return int(asked.suggest_categorical(item.key, range(last + 1)))


def distribution(item: Dimension) -> BaseDistribution:
    """Return a dimension as the samplers see it; ordered words by their places."""
    if isinstance(item, Interval):
        kind = IntDistribution if item.is_whole else FloatDistribution
        return kind(item.low, item.high, log=item.is_log)  # type: ignore[arg-type]
    places = range(len(item.words))
    return IntDistribution(0, len(item.words) - 1) if item.is_ordered else CategoricalDistribution(places)


def _as_seen(trial: Trial, space: Space, name: str, trials: Sequence[Trial]) -> FrozenTrial:
    """Return a trial as a sampler shall see it: a failed one is as bad as the worst.

    Where some were paused, TPE sorts them by how far they came, then by value. The other samplers compare values only:
    they get each trial's place in that order.
    """
    state, value = TrialState.COMPLETE, trial.value
    reports: Mapping[int, float] = {}
    if trial.state is JobState.RUNNING:
        state, value = TrialState.RUNNING, None
    elif name != "tpe" and any(other.state in _PARTIAL for other in trials):
        order = sorted(_how_far(other) for other in trials if other.state is not JobState.RUNNING)
        value = order.index(_how_far(trial)) / len(order)
    elif trial.state is JobState.FAILED:
        value = _worst(trials)
    elif trial.state in _PARTIAL:
        state, reports = TrialState.PRUNED, {step: _finite(value) for step, value in trial.reports.items()}
    return create_trial(
        state=state,
        value=None if value is None else _finite(value),
        params=dict(trial.point),
        distributions={key: distribution(space[key]) for key in trial.point},
        system_attrs=dict(trial.attributes),
        intermediate_values=dict(reports),
    )


def _how_far(trial: Trial) -> tuple[int, int, float]:
    """Return a key that sorts trials: finished ones first, failed ones last, the others by how far they came."""
    rank = {JobState.FINISHED: 0, JobState.FAILED: 2}.get(trial.state, 1)
    return rank, -trial.last_step if rank == 1 else 0, trial.last_value if rank < 2 else 0.0


def _worst(trials: Sequence[Trial]) -> float:
    """Return the worst value of all trials that were measured."""
    values = [trial.last_value for trial in trials]
    return max((value for value in values if math.isfinite(value)), default=_WORST)


def _finite(value: float) -> float:
    """Return a value within the range that a model can compute with."""
    return min(max(value, -_WORST), _WORST)
