"""The importance of each setting: its share of the differences between jobs, by Optuna's fANOVA (extra `sweep`).

A forest is fitted to the jobs, and the variance of its predictions is divided among the settings (Hutter et al. 2014,
An efficient approach for assessing hyperparameter importance). It needs scikit-learn.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.base.foreign_errors import check_package
from nnrun.config.ranges import is_number
from nnrun.config.yaml_files import value_of

# With fewer jobs, a forest says nothing.
LEAST_JOBS = 4
# Positive numbers that span so many times the smallest are compared by their logarithms.
_LOG_SPAN = 30.0
_NUM_TREES = 64


def importances(jobs: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    """Return the share of each setting, which add up to 1, the largest first; empty if nothing can be said.

    `jobs` has for each job its settings as typed, by key, and its value. A setting that some jobs do not have counts
    with the middle of the others' numbers, or as a choice of its own. Settings that are the same in all jobs have no
    share.
    """
    jobs = [(settings, value) for settings, value in jobs if math.isfinite(value)]
    keys = list(dict.fromkeys(key for settings, _ in jobs for key in settings))
    columns = {key: _column([settings.get(key) for settings, _ in jobs]) for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if len(jobs) < LEAST_JOBS or not columns or len({value for _, value in jobs}) < 2:
        return {}
    for package in ("optuna", "sklearn"):
        check_package("the importance of settings", package)
    import optuna  # noqa: PLC0415 - an extra, and slow to import
    from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: PLC0415
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study()
        distributions: dict[str, Any] = {
            key: FloatDistribution(min(column), max(column))
            if all(map(is_number, column))
            else CategoricalDistribution(sorted(set(column)))
            for key, column in columns.items()
        }
        for row, (_, value) in enumerate(jobs):
            params = {key: column[row] for key, column in columns.items()}
            study.add_trial(optuna.create_trial(value=value, params=params, distributions=distributions))
        forest = FanovaImportanceEvaluator(n_trees=_NUM_TREES, seed=0)
        shares = get_param_importances(study, evaluator=forest)
    if not all(map(math.isfinite, shares.values())):
        return {}
    return {key: round(share, 4) for key, share in sorted(shares.items(), key=lambda item: -item[1])}


def _column(words: Sequence[str | None]) -> list[Any]:
    """Return the values of a setting over the jobs: numbers if all are, else words."""
    values: list[Any] = [None if word is None else value_of(word) for word in words]
    numbers = [float(value) for value in values if is_number(value) and math.isfinite(value)]
    if numbers and len(numbers) == sum(word is not None for word in words):
        if min(numbers) > 0 and max(numbers) >= _LOG_SPAN * min(numbers):
            values = [None if value is None else math.log10(value) for value in values]
        middle = statistics.median_low([value for value in values if value is not None])
        return [float(middle if value is None else value) for value in values]
    return ["" if word is None else word for word in words]
