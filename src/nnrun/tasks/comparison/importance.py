"""The importance of each setting: its share of the differences between runs, by Optuna's fANOVA (extra `sweep`).

A forest is fitted to the runs, and the variance of its predictions is divided among the settings (Hutter et al. 2014,
An efficient approach for assessing hyperparameter importance). It needs scikit-learn.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import check_package
from nnrun.base.shown import Chart, Text, counted
from nnrun.config.monitor import PREFIX
from nnrun.config.ranges import is_number
from nnrun.tasks.comparison.columns import decisive_settings
from nnrun.tasks.comparison.comparison import Comparison, Importance
from nnrun.tasks.comparison.differences import differing_settings, title_of
from nnrun.tasks.comparison.families import Family, kind_of
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.rows import by_epoch, number_of, rows_of

# With fewer runs, a forest says nothing.
LEAST_RUNS = 10
TITLE = "Importance of settings"
# Positive numbers that span so many times the smallest are compared by their logarithms.
_LOG_SPAN = 30.0
_NUM_TREES = 64
# With more, a forest takes long and says little.
_MOST_RUNS, _MOST_SETTINGS, _MOST_BARS = 500, 24, 12


def with_importance(comparison: Comparison, early: Sequence[Run] = ()) -> Comparison:
    """Return a comparison with the importance of the settings of each family that has enough runs.

    `early` are runs without a result, such as those that a search ended early. They count where too few others have
    one: then all runs are compared by their validations after as many epochs as each of them reached.
    """
    found = {family: _importance(family, comparison, early) for family in comparison.ranked.families}
    known = {family: importance for family, importance in found.items() if importance is not None}
    return replace(comparison, importance=known)


def _importance(family: Family, comparison: Comparison, early: Sequence[Run]) -> Importance | None:
    """Return the importance of a family's settings; None if it has few runs, or one setting, which has all of it."""
    early = [run for run in early if run.monitor == family.metric and kind_of(run) == kind_of(family.runs[0])]
    values, epochs, note = {run: run.metrics[family.metric] for run in family.runs}, None, ""
    if len(values) < LEAST_RUNS and early and family.metric.startswith(PREFIX):
        values, epochs = _at_one_epoch([*family.runs, *early], family.metric)
    elif early:
        note = f"{counted(len(early), 'run')} without a result not counted: fewer epochs give other values."
    runs = list(values)[:: math.ceil(len(values) / _MOST_RUNS) or 1]
    settings = comparison.settings if epochs is None else differing_settings(runs)
    keys = decisive_settings(runs, settings)[:_MOST_SETTINGS]
    if len(runs) < LEAST_RUNS or len(keys) < 2:
        return None
    jobs = [
        ({title_of(key): run.settings[key] for key in keys if key in run.settings}, values[run])
        for run in runs
        if run.settings is not None
    ]
    try:
        shares = importances(jobs)
    except ResourceError as error:
        return Importance({}, len(jobs), epochs, "\n".join(error.messages))
    return Importance(shares, len(jobs), epochs, note) if shares else None


def _at_one_epoch(runs: Sequence[Run], metric: str) -> tuple[dict[Run, float], int | None]:
    """Return the newest values of a validation metric after as many epochs as each run reached, and their number."""
    split, _, name = metric.rpartition("/")
    curves = {run: curve for run in runs if (curve := by_epoch(rows_of(run.path), split, name))}
    if not curves:
        return {}, None
    epochs = min(map(max, curves.values()))
    found = {run: {epoch: value for epoch, value in curve.items() if epoch <= epochs} for run, curve in curves.items()}
    return {run: curve[max(curve)] for run, curve in found.items() if curve}, epochs


def importance_of(family: Family, comparison: Comparison) -> Iterator[Chart | Text]:
    """Yield the importance of a family's settings as bars, or why it is not known; nothing if it was not estimated."""
    found = comparison.importance.get(family)
    if found is None:
        return
    if not found.shares:
        yield Text(TITLE, found.note)
        return
    largest = dict(list(found.shares.items())[:_MOST_BARS])
    early = f" after {counted(found.after_epochs, 'epoch')}, which all reached," if found.after_epochs else ""
    note = (
        f"Share of the variance of {family.metric}{early} that each setting explains alone, estimated from "
        f"{found.num_runs:,} runs by fANOVA; the rest is due to several settings together."
    )
    if len(largest) < len(found.shares):
        note += f" The first {len(largest)} of {len(found.shares)} settings."
    note = f"{note} {found.note}".strip()
    yield Chart(TITLE, "bars", list(largest), {"share": list(largest.values())}, "setting", "share", note=note)


def importances(jobs: Sequence[tuple[Mapping[str, Any], float]]) -> dict[str, float]:
    """Return the share of the variance that each setting explains alone, the largest first; empty if nothing is known.

    The shares add up to 1 or less: the rest is due to several settings together. `jobs` has for each run its settings
    and its value. A setting that some runs do not have counts with the middle of the others' numbers, or as a choice of
    its own. Settings that are the same in all runs have no share. Raises ResourceError where a package is missing.
    """
    jobs = [(settings, value) for settings, value in jobs if math.isfinite(value)]
    keys = list(dict.fromkeys(key for settings, _ in jobs for key in settings))
    columns = {key: _column(key, [settings for settings, _ in jobs]) for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if len(jobs) < LEAST_RUNS or not columns or len({value for _, value in jobs}) < 2:
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
        try:
            shares = get_param_importances(study, evaluator=forest, normalize=False)
        except (RuntimeError, ValueError):  # trees without any variance, or values too large for them
            return {}
    if not all(map(math.isfinite, shares.values())):
        return {}
    return {key: round(float(share), 4) for key, share in sorted(shares.items(), key=lambda item: -item[1])}


def _column(key: str, jobs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the values of a setting over the jobs: numbers if all are, else texts."""
    having = [job[key] for job in jobs if key in job]
    if any(number_of(value) is None for value in having):
        return [repr(job[key]) if key in job else "" for job in jobs]
    numbers = list(map(float, having))
    is_wide = min(numbers) > 0 and max(numbers) >= _LOG_SPAN * min(numbers)
    numbers = [math.log10(number) for number in numbers] if is_wide else numbers
    middle, left = statistics.median_low(numbers), iter(numbers)
    return [next(left) if key in job else middle for job in jobs]
