"""Regression: values `(N, K)`, one or several per sample, standardized for training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.base.errors import DataError
from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Shown, Table
from nnrun.base.targets import Kind, Targets
from nnrun.components.metrics.regression import RegressionMetrics, RunningErrors, r2
from nnrun.components.metrics.standardisation import PutBack, Standardisation
from nnrun.components.problems.outputs import check_width
from nnrun.core.seams.problem import Metric, Output, Problem, Sums
from nnrun.runs.intervals import of_r2

# Two networks agree on a value if they differ by at most this fraction of its standard deviation in the training split.
_SAME = 1e-3
# A network has memorized a value if its error is at most this fraction of the standard deviation.
_RIGHT = 0.1
# Beyond these limits, fp32 cannot represent the spread of a target's values well.
_SMALLEST, _LARGEST = 1e-30, 1e30


class Regression(Problem):
    """Measure squared error, absolute error and R2, in the data's own units.

    The network is trained on standardized values: minus their mean, divided by their standard deviation, both of the
    training split. The deviation of a constant value is 1.
    """

    kind: ClassVar[Kind] = "values"
    headline = "r2"
    has_probabilities = False

    def __init__(self, targets: Targets) -> None:
        super().__init__(targets)
        self.standardisation = Standardisation(targets.num_outputs)
        self.train_metric: Metric = RunningErrors(self.standardisation)
        self._metric = RegressionMetrics(self.standardisation)
        self.eval_metric: Metric = self._metric

    def check_outputs(self, outputs: object, num_samples: int) -> None:
        """Raise ConfigError unless a network's output for a batch is a number for each value, `(N, K)`."""
        check_width(outputs, num_samples, self.targets, "a number for each")

    def learned(self, targets: Tensor) -> Tensor:
        """Return standardized values."""
        return self.standardisation(targets)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return outputs in the data's units."""
        return self.standardisation.put_back(outputs)

    def final_layer(self, output: Output) -> nn.Module:
        """Return the layer that converts outputs to the data's units; values have no probabilities."""
        return PutBack(*self.standardisation.parts())

    def described(self, output: Output) -> str:
        """Return a description of an artifact's output."""
        return f"values in the units of the data, float32, (N, {self.targets.num_outputs})"

    def fit_targets(self, targets: Tensor) -> list[str]:
        """Compute mean and standard deviation of the training split in float64; return a note on each constant value.

        Raises DataError if fp32 cannot represent the spread of a target's values.
        """
        values = targets.double()
        low, high = values.amin(0), values.amax(0)
        mean = low + (values - low).mean(0)
        deviation = (values - mean).square().mean(0).sqrt()
        for name, spread in zip(self.targets.names, (high - low).tolist(), strict=True):
            if spread and not _SMALLEST <= spread <= _LARGEST:
                raise DataError(
                    f"the range of {name} in the training split is {spread:.3g}; allowed: from {_SMALLEST:g} to "
                    f"{_LARGEST:g}; use another unit"
                )
        self.standardisation.set(mean, torch.where(low == high, 1.0, deviation))
        constant = [
            (name, value)
            for name, value, is_one in zip(self.targets.names, low.tolist(), low == high, strict=True)
            if is_one
        ]
        return [f"{name} is {value:g} in all training samples: there is nothing to learn" for name, value in constant]

    def state_dict(self) -> dict[str, Any]:
        """Return the means and standard deviations, in the order of the targets."""
        return {"mean": self.standardisation.mean.tolist(), "deviation": self.standardisation.deviation.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore means and standard deviations; raise ValueError unless they are a number for each target."""
        parts = [state["mean"], state["deviation"]]
        for part in parts:
            is_whole = isinstance(part, list) and len(part) == self.targets.num_outputs
            if not is_whole or not all(isinstance(value, float) and math.isfinite(value) for value in part):
                raise ValueError(f"mean and deviation must be a number for each of the {self.targets}")
        mean, deviation = (torch.tensor(part, dtype=torch.float64) for part in parts)
        if not bool((deviation > 0).all()):
            raise ValueError("a deviation must be above 0")
        self.standardisation.set(mean, deviation)

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return the scores of each target, with its mean and standard deviation in the training split."""
        scores = self._metric.score_targets(sums)
        columns = (*scores, self.standardisation.mean, self.standardisation.deviation)
        titles = ("mse", "mae", "r2", "train_mean", "train_deviation")
        rows = zip(self.targets.names, *(column.tolist() for column in columns), strict=True)
        return {
            "per_target": [
                {"target": name}
                | {title: value if math.isfinite(value) else None for title, value in zip(titles, values, strict=True)}
                for name, *values in rows
            ]
        }

    def show(self, report: Mapping[str, Any]) -> list[Shown]:
        """Return the scores of the targets, the weakest first, if there are several."""
        rows = sorted(report.get("per_target", ()), key=lambda row: -math.inf if row["r2"] is None else row["r2"])
        columns = ("target", "mse", "mae", "r2")
        weakest = [f"{row['target']} (R2 {row['r2']:.3f})" for row in rows[:3] if row["r2"] is not None]
        cells = [[row[column] for column in columns] for row in rows]
        table = Table("Scores of each target, the weakest first", columns, cells, "  ".join(weakest), label="weakest")
        return [table] if len(rows) > 1 else []

    def show_samples(self, results: SampleResults) -> list[Shown]:
        """Return the errors of each target, prediction against truth, residuals, and the costliest samples."""
        from nnrun.components.problems.value_results import show_values  # noqa: PLC0415 - for reports

        return show_values(results)

    def interval(self, results: SampleResults) -> tuple[float, float] | None:
        """Return the interval of the mean R2, by a bootstrap."""
        if not results.is_whole or self.headline != "r2" or not np.isfinite(results.predictions).all():
            return None
        return of_r2(results.predictions, results.targets)

    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the mean R2 over targets of values in the data's units."""
        ours, true = (self.standardisation(values).double() for values in (predictions, targets))
        errors, totals, squares = (ours - true).square().sum(0), true.sum(0), true.square().sum(0)
        return float(r2(errors, totals, squares, len(targets)).mean())

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether both predict the same values, within a fraction of their deviation, `(N,)`."""
        deviation = self.standardisation.deviation.to(ours.device, ours.dtype)
        # With a large mean, fp32's rounding may exceed that fraction; rounding does not count as a difference.
        step = ours.abs() * torch.finfo(torch.float32).eps
        return ((ours - theirs).abs() <= _SAME * deviation + 2 * step).all(1)

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether the errors of all values are within a tenth of their deviation, `(N,)`."""
        deviation = self.standardisation.deviation.to(predictions.device, predictions.dtype)
        return ((predictions - targets).abs() <= _RIGHT * deviation).all(1)

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return a sample's values, and those that each network predicts."""
        target_text, our_text, their_text = self.answers(torch.stack([target, ours, theirs]))
        return {
            "target": target_text,
            "eager": our_text,
            "artifact": their_text,
            "predictions_eager": dict(zip(self.targets.names, ours.tolist(), strict=True)),
            "predictions_artifact": dict(zip(self.targets.names, theirs.tolist(), strict=True)),
        }

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return R2 of always predicting the mean of the training split, which is 0 or slightly below."""
        if not len(train_targets) or not len(targets):
            return None
        low = train_targets.double().amin(0)
        mean = low + (train_targets.double() - low).mean(0)
        return self.score(mean.float().expand(targets.shape), targets)

    def columns(self, top_k: int | None = None) -> list[str]:
        """Return the title `prediction`; for several targets one title each, with its name."""
        names = self.targets.names
        return ["prediction"] if len(names) == 1 else [f"prediction_{name}" for name in names]

    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return the values predicted for each sample."""
        return predictions.tolist()

    def answers(self, predictions: Tensor) -> list[str]:
        """Return the values predicted for each sample, as text."""
        return [" ".join(f"{value:.6g}" for value in row) for row in predictions.tolist()]
