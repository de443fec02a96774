"""What a network's predictions depend on: the importance of each input column, and the prediction along it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnrun.assembly.alike_columns import groups_of
from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.base.meter import meter
from nnrun.core.outputs import scores_of
from nnrun.core.randomness import COLUMNS, generator
from nnrun.core.seams.columns import InputColumn
from nnrun.core.seams.data import Preprocessing, Tree
from nnrun.core.seams.problem import Problem

# Rows of the test split that are used, and how often each column is shuffled.
_MOST_ROWS, _REPEATS = 1000, 5
# Columns along which the prediction is computed: of numbers, and of texts; and of how many outputs it is kept.
_MOST_CURVES, _MOST_OUTPUTS = 4, 6
# What is not measured after these seconds is left out, and said.
_MOST_SECONDS = 10.0


class Rows(NamedTuple):
    """The rows to measure on: raw inputs on the host, and targets."""

    inputs: Mapping[str, Tensor]
    targets: Tensor


@dataclass(frozen=True)
class ColumnEffects:
    """How much the main metric falls if columns are shuffled, and the mean prediction along the most important ones.

    `importance` has a row for each column, and `together` for each group of columns that say nearly the same, the most
    important first: `names`, `mean` and `deviation` of the fall over `repeats`. `curves` have `name`, `x` (numbers or
    texts), whether that `is_ordered`, and `series`, the mean prediction by output. `num_left_out` columns were not
    measured for lack of time.
    """

    metric: str
    score: float
    num_rows: int
    of_rows: int
    repeats: int
    num_left_out: int = 0
    importance: list[dict[str, Any]] = field(default_factory=list)
    together: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)


def column_effects(  # noqa: PLR0913, PLR0917
    job: Job,
    data: Opened,
    network: nn.Module,
    preprocessing: Preprocessing,
    problem: Problem,
    poll: Callable[[], None],
) -> ColumnEffects | None:
    """Measure a trained network, in eval mode on the device, on rows of the test split.

    Returns None if its samples have no columns, or there are no test samples. The rows and their order when shuffled
    are drawn from the run's seed.
    """
    found = getattr(preprocessing, "input_columns", None)
    columns: Sequence[InputColumn] = found() if found is not None and len(data.test) > 1 else ()
    if not columns:
        return None
    chosen = torch.randperm(len(data.test), generator=generator(COLUMNS, job.settings.seed))[:_MOST_ROWS].sort().values
    rows = data.test.subset(chosen).loaded()
    predictor = Predictor(network, preprocessing, problem, job.device, job.settings.data.eval_batch_size)
    with meter("measuring columns", ticks=True):
        return effects_of(
            predictor, columns, Rows(rows.inputs, rows.targets), len(data.test), job.settings.seed, poll=poll
        )


@dataclass(frozen=True)
class Predictor:
    """Compute the predictions of raw rows, on the host, a batch at a time."""

    network: nn.Module
    preprocessing: Preprocessing
    problem: Problem
    device: torch.device
    batch_size: int

    @torch.inference_mode()
    def __call__(self, inputs: Tree) -> Tensor:
        """Return probabilities or values, `(N, K)`."""
        length = len(next(iter(inputs.values())))
        parts = []
        for start in range(0, length, self.batch_size):
            batch = tree_map(lambda leaf: leaf[start : start + self.batch_size].to(self.device), inputs)  # noqa: B023
            outputs = scores_of(self.network(self.preprocessing(batch))).float()
            parts.append(self.problem.predictions(self.problem.scores(outputs)).cpu())
        return torch.cat(parts)


def effects_of(  # noqa: PLR0913
    predict: Predictor,
    columns: Sequence[InputColumn],
    rows: Rows,
    of_rows: int,
    seed: int,
    *,
    repeats: int = _REPEATS,
    most_seconds: float = _MOST_SECONDS,
    poll: Callable[[], None] = lambda: None,
) -> ColumnEffects:
    """Measure the permutation importance (Breiman 2001) of columns and their groups, and the curves of the first."""
    until = time.monotonic() + most_seconds
    score = predict.problem.score(predict(rows.inputs), rows.targets)
    groups = groups_of(columns, rows.inputs)
    units = [(column,) for column in columns] + [tuple(columns[place] for place in group) for group in groups]
    falls: list[list[float]] = [[] for _ in units]
    for repeat in range(repeats):
        order = torch.randperm(len(rows.targets), generator=generator(COLUMNS, seed, repeat + 1))
        for unit, found in zip(units, falls, strict=True):
            poll()
            if time.monotonic() > until:
                break
            shuffled = predict(_with(rows.inputs, unit, lambda cells: cells[order]))  # noqa: B023
            found.append(score - predict.problem.score(shuffled, rows.targets))
    # Of a repeat that was cut short, nothing is used: each column has as many.
    complete = max(min(map(len, falls)), 1)
    measured: list[dict[str, Any]] = [
        {"names": [column.name for column in unit], **_spread(found[:complete])}
        for unit, found in zip(units, falls, strict=True)
        if found
    ]
    measured.sort(key=lambda row: -row["mean"])
    singles = [row for row in measured if len(row["names"]) == 1]
    return ColumnEffects(
        metric=predict.problem.headline,
        score=score,
        num_rows=len(rows.targets),
        of_rows=of_rows,
        repeats=complete,
        num_left_out=len(columns) - len(singles),
        importance=singles,
        together=[row for row in measured if len(row["names"]) > 1],
        curves=_curves(predict, columns, rows, [row["names"][0] for row in singles if row["mean"] > 0], until),
    )


def _with(
    inputs: Mapping[str, Tensor], unit: Sequence[InputColumn], change: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return raw rows in which the cells of columns, `(N, P)`, are changed."""
    changed = dict(inputs)
    for column in unit:
        leaf = changed[column.leaf]
        if leaf is inputs[column.leaf]:
            leaf = changed[column.leaf] = leaf.clone()
        leaf[:, list(column.places)] = change(inputs[column.leaf][:, list(column.places)])
    return changed


def _spread(falls: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and the standard deviation of numbers; the mean counts as 0 where a metric is not defined."""
    known = torch.tensor([fall for fall in falls if math.isfinite(fall)], dtype=torch.float64)
    if not len(known):
        return {"mean": 0.0, "deviation": None}
    return {"mean": known.mean().item(), "deviation": known.std(correction=0).item()}


def _curves(
    predict: Predictor, columns: Sequence[InputColumn], rows: Rows, order: Sequence[str], until: float
) -> list[dict[str, Any]]:
    """Return the partial dependence (Friedman 2001) on the first columns of numbers and of texts in an order."""
    by_name = {column.name: column for column in columns}
    found: list[dict[str, Any]] = []
    counts = {True: 0, False: 0}
    for name in order:
        column = by_name[name]
        cells = rows.inputs[column.leaf][:, list(column.places)]
        is_number = cells.is_floating_point()
        if counts[is_number] == _MOST_CURVES:
            continue
        values, x = column.settings(cells)
        if len(values) < 2:
            continue
        if time.monotonic() > until:
            break
        counts[is_number] += 1
        means = torch.stack(
            [predict(_with(rows.inputs, [column], value.expand_as)).double().mean(0) for value in values]
        )
        series = _series(means, predict.problem.targets.names)
        found.append({"name": name, "is_ordered": is_number, "x": list(x), "series": series})
    return found


def _series(means: Tensor, names: Sequence[str]) -> dict[str, list[float]]:
    """Return the curves, `(G, K)`, of the outputs that change most, by name; of two that add up to 1, the second."""
    if means.shape[1] == 2 and bool(((means.sum(1) - 1).abs() < 1e-4).all()):
        return {names[1]: means[:, 1].tolist()}
    spread = means.amax(0) - means.amin(0)
    kept = spread.nan_to_num().argsort(descending=True, stable=True)[:_MOST_OUTPUTS].sort().values
    return {names[place]: means[:, place].tolist() for place in kept.tolist()}
