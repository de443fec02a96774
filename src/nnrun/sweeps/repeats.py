"""What a sweep adds to the words of its jobs: seeds and folds to repeat, and whether a job is tested at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnrun.base.errors import Complaint, ConfigError
from nnrun.config.overrides import Typed
from nnrun.config.sweep_settings import SweepConfig
from nnrun.config.task import Task, task_called

SEED, FOLD, NUM_FOLDS, TEST = "seed", "data.fold", "data.num_folds", "trainer.test"
# Words with which jobs train nothing, unless `task=` says that they do.
_NO_TRAINING = ("ckpt", "runs", "input")


@dataclass(frozen=True)
class Additions:
    """Settings by key: those that the jobs of a point differ in, and those that all jobs have."""

    repeats: Sequence[Mapping[str, str]]
    fixed: Mapping[str, str]
    # How many of the best are tested at the end, of jobs that are not tested at once.
    num_tested: int


def additions_of(config: SweepConfig, typed: Sequence[Typed], tasks: Sequence[Task]) -> Additions:
    """Return what a sweep adds to its jobs; raise ConfigError where their words exclude it."""
    settings, keys = config.sweep, {item.key for item in typed}
    seeds, folds = settings.seeds, settings.folds
    is_training = _is_training(typed, tasks)
    is_best = settings.test == "best" or (settings.test == "auto" and settings.method != "grid" and is_training)
    problems = [
        Complaint(key, f"{key} and {by} exclude each other: the sweep sets it")
        for key, by, is_set in (
            (SEED, "sweep.seeds", seeds > 1 and any(item.key == SEED and item.is_sweep for item in typed)),
            (FOLD, "sweep.folds", folds is not None),
            (NUM_FOLDS, "sweep.folds", folds is not None),
            (TEST, "sweep.test=best", is_best),
        )
        if is_set and key in keys
    ]
    if settings.top and not is_best:
        problems.append(Complaint("sweep.top", f"sweep.top={settings.top} has an effect only with sweep.test=best"))
    if settings.test == "best" and not is_training:
        problems.append(Complaint("sweep.test", "sweep.test=best has an effect only on trainings"))
    if config.method.get("prune", "none") != "none" and (seeds > 1 or folds):
        by = "sweep.seeds" if seeds > 1 else "sweep.folds"
        text = f"sweep.prune={config.method['prune']} and {by} exclude each other: repeats count by their mean"
        problems.append(Complaint("sweep.prune", text))
    if problems:
        raise ConfigError(*problems)
    of_seeds = [{SEED: str(config.seed + number)} for number in range(seeds)] if seeds > 1 else [{}]
    of_folds = [{FOLD: str(number + 1)} for number in range(folds)] if folds else [{}]
    fixed = ({NUM_FOLDS: str(folds)} if folds else {}) | ({TEST: "false"} if is_best else {})
    repeats = [{**seed, **fold} for seed, fold in itertools.product(of_seeds, of_folds)]
    return Additions(repeats, fixed, 1 + settings.top if is_best else 0)


def _is_training(typed: Sequence[Typed], tasks: Sequence[Task]) -> bool:
    """Return whether the words ask for trainings."""
    named = [task_called(item.value, tasks) for item in typed if item.key == "task"]
    if named and named[-1] is not None:
        return named[-1].trains
    return not any(item.key in _NO_TRAINING and item.value is not None for item in typed)
