"""Several labels at once: scores `(N, K)`, logits, and targets `(N, K)` of 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Shown, Table
from nnrun.base.targets import Kind, Targets
from nnrun.components.metrics.multilabel import MultilabelMetrics, RunningLabels
from nnrun.components.problems.outputs import check_width
from nnrun.core.seams.problem import Metric, Output, Problem, Sums
from nnrun.runs.intervals import of_label_f1

# Number of the weakest labels in a one-line report.
_WEAKEST = 3
# Probabilities that differ by no more than this agree, even on different sides of a threshold.
_ROUNDING = 1e-5


class Multilabel(Problem):
    """Measure F1 and average precision of the labels.

    A label is predicted if its probability reaches the label's threshold: the one with the largest F1 on the
    validation split, or 0.5 without a validation split.
    """

    kind: ClassVar[Kind] = "labels"
    headline = "f1_macro"
    without_validation = "the thresholds of all labels are 0.5: there is no validation split to tune them on"

    def __init__(self, targets: Targets) -> None:
        super().__init__(targets)
        self.train_metric: Metric = RunningLabels()
        self._metric = MultilabelMetrics(targets.num_outputs)
        self.eval_metric: Metric = self._metric

    @property
    def thresholds(self) -> Tensor:
        """The probability from which each label is predicted, float64 `(K,)` on the host."""
        return self._metric.thresholds

    def check_outputs(self, outputs: object, num_samples: int) -> None:
        """Raise ConfigError unless a network's output for a batch is a score for each label, `(N, K)`."""
        check_width(outputs, num_samples, self.targets, "a score for each")

    def predictions(self, scores: Tensor) -> Tensor:
        """Return the sigmoid of scores `(N, K)`."""
        return scores.sigmoid()

    def decided(self, predictions: Tensor) -> Tensor:
        """Return which labels are predicted, `(N, K)` of bool: those whose probability reaches their threshold."""
        return predictions >= self.thresholds.to(predictions.device, predictions.dtype)

    def final_layer(self, output: Output) -> nn.Module:
        """Return the sigmoid for probabilities, the identity for scores."""
        return nn.Sigmoid() if output == "probabilities" else nn.Identity()

    def described(self, output: Output) -> str:
        """Return a description of an artifact's output."""
        kind = "label scores before the sigmoid (logits)" if output == "scores" else "label probabilities (sigmoid)"
        return f"{kind}, float32, (N, labels)"

    def fit_validation(self, sums: Sums) -> None:
        """Set each label's threshold to the one with the largest F1."""
        self._metric.thresholds = self._metric.fitted(sums)

    def state_dict(self) -> dict[str, Any]:
        """Return the thresholds, in the order of the labels."""
        return {"thresholds": self.thresholds.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the thresholds; raise ValueError unless there is one between 0 and 1 for each label."""
        thresholds = state["thresholds"]
        is_whole = isinstance(thresholds, list) and len(thresholds) == self.targets.num_outputs
        if not is_whole or not all(isinstance(value, float) and 0 < value < 1 for value in thresholds):
            raise ValueError(f"thresholds must be a number between 0 and 1 for each of the {self.targets}")
        self._metric.thresholds = torch.tensor(thresholds, dtype=torch.float64)

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return the scores of each label at its threshold, and the uncertainty of `map`."""
        scores = self._metric.score_labels(sums)
        columns = (
            self.thresholds,
            scores.precision,
            scores.recall,
            scores.f1,
            scores.average_precision,
            scores.samples,
        )
        titles = ("threshold", "precision", "recall", "f1", "ap", "samples")
        rows = zip(self.targets.names, *(column.tolist() for column in columns), strict=True)
        return {
            "per_label": [
                {"label": name} | {title: _finite(value) for title, value in zip(titles, values, strict=True)}
                for name, *values in rows
            ],
            "map_uncertainty": _finite(self._metric.uncertainty(sums)),
        }

    def show(self, report: Mapping[str, Any]) -> list[Shown]:
        """Return the scores of the labels, the weakest first."""
        rows = [row for row in report.get("per_label", ()) if row["samples"] and row["f1"] is not None]
        rows.sort(key=lambda row: row["f1"])
        weakest = [f"{row['label']} (F1 {row['f1']:.3f})" for row in rows[:_WEAKEST] if row["f1"] < 1]
        columns = ("label", "threshold", "precision", "recall", "f1", "ap", "samples")
        cells = [[row[column] for column in columns] for row in rows]
        return [Table("Scores of each label, the weakest first", columns, cells, "  ".join(weakest), label="weakest")]

    def show_samples(self, results: SampleResults) -> list[Shown]:
        """Return precision-recall and ROC curves, calibration, labels that are confused, and the costliest mistakes."""
        from nnrun.components.problems.label_results import show_labels  # noqa: PLC0415 - for reports

        return show_labels(results, self._predicted(results))

    def interval(self, results: SampleResults) -> tuple[float, float] | None:
        """Return the interval of macro F1, by a bootstrap."""
        if not results.is_whole or self.headline != "f1_macro" or not np.isfinite(results.predictions).all():
            return None
        return of_label_f1(self._predicted(results).astype(np.uint8), results.targets)

    def _predicted(self, results: SampleResults) -> np.ndarray[Any, Any]:
        """Return which labels are predicted, `(N, K)` of bool; files of earlier versions have only probabilities."""
        if results.predicted_labels is not None:
            return results.predicted_labels.astype(bool)
        return self.decided(torch.from_numpy(results.predictions)).numpy()

    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the macro F1 of probabilities `(N, K)`; NaN if one is NaN."""
        if predictions.isnan().any():
            return math.nan
        given, true = self.decided(predictions), targets > 0.5
        hits, marks = (given & true).sum(0), given.sum(0) + true.sum(0)
        return float((2 * hits / marks.double())[marks > 0].mean())

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether both predict the same labels, `(N,)` of bool."""
        is_rounding = (ours - theirs).abs() <= _ROUNDING
        return (is_rounding | (self.decided(ours) == self.decided(theirs))).all(1) & ~theirs.isnan().any(1)

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether exactly its own labels are predicted, `(N,)` of bool."""
        return (self.decided(predictions) == (targets == 1)).all(1)

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return a sample's labels, those that each network predicts, and the probabilities that differ most."""
        differ = (ours - theirs).abs().nan_to_num(nan=math.inf).argsort(descending=True, stable=True)[:_WEAKEST]
        names = {self.targets.names[index]: index for index in differ.tolist()}
        return {
            "target": self._names(target > 0.5),
            "eager": self._names(self.decided(ours[None])[0]),
            "artifact": self._names(self.decided(theirs[None])[0]),
            "predictions_eager": {name: ours[index].item() for name, index in names.items()},
            "predictions_artifact": {name: theirs[index].item() for name, index in names.items()},
        }

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return the macro F1 of always predicting every label that the training split has."""
        if not len(train_targets) or not len(targets):
            return None
        return self.score((train_targets > 0.5).any(0).double().expand(targets.shape), targets)

    def columns(self, top_k: int | None = None) -> list[str]:
        """Return a title for each label, then a title for the probability of each."""
        return [*self.targets.names, *(f"probability_{name}" for name in self.targets.names)]

    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return 1 for each predicted label and 0 for the others, then the probabilities of all."""
        return [[*g, *p] for g, p in zip(self.decided(predictions).int().tolist(), predictions.tolist(), strict=True)]

    def answers(self, predictions: Tensor) -> list[str]:
        """Return the predicted labels of each sample, separated by spaces, as in Kaggle's submissions."""
        return [" ".join(self._names(row)) for row in self.decided(predictions)]

    def _names(self, given: Tensor) -> list[str]:
        """Return the names of a sample's predicted labels."""
        return [name for name, is_given in zip(self.targets.names, given.tolist(), strict=True) if is_given]


def _finite(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None
