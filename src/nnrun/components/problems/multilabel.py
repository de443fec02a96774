"""Several labels at once: scores `(N, K)`, logits, and targets `(N, K)` of 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnrun.base.shown import Shown, Table
from nnrun.base.targets import Kind, Targets
from nnrun.components.metrics.multilabel import MultilabelMetrics, RunningLabels
from nnrun.components.problems.outputs import check_width
from nnrun.core.seams.problem import Metric, Output, Problem, Sums

# How many of the weakest labels are named where there is room for a line.
_WEAKEST = 3
# Probabilities that differ by no more are the same, on whichever side of a threshold.
_ROUNDING = 1e-5


class Multilabel(Problem):
    """Judge a network by F1 and average precision of its labels.

    A sample is given a label from its threshold on, a probability: that with the largest F1 in the validation part, or
    0.5 where there is none.
    """

    kind: ClassVar[Kind] = "labels"
    headline = "f1_macro"
    without_validation = "a label is given from a probability of 0.5: there is no validation part to fit thresholds on"

    def __init__(self, targets: Targets) -> None:
        super().__init__(targets)
        self.train_metric: Metric = RunningLabels()
        self._metric = MultilabelMetrics(targets.num_outputs)
        self.eval_metric: Metric = self._metric

    @property
    def thresholds(self) -> Tensor:
        """The probability from which on a sample is given each label, float64 `(K,)` on the host."""
        return self._metric.thresholds

    def check_outputs(self, outputs: object, num_samples: int) -> None:
        """Raise ConfigError where what a network gives for a batch is not a score for each label."""
        check_width(outputs, num_samples, self.targets, "a score for each")

    def predictions(self, scores: Tensor) -> Tensor:
        """Return the sigmoid of scores `(N, K)`."""
        return scores.sigmoid()

    def final_layer(self, output: Output) -> nn.Module:
        """Return the sigmoid, or nothing: a network's outputs are scores."""
        return nn.Sigmoid() if output == "probabilities" else nn.Identity()

    def described(self, output: Output) -> str:
        """Return in words what an artifact gives."""
        kind = "label scores before the sigmoid (logits)" if output == "scores" else "label probabilities (sigmoid)"
        return f"{kind}, float32, (N, labels)"

    def fit_validation(self, sums: Sums) -> None:
        """Choose the threshold of each label that has the largest F1."""
        self._metric.thresholds = self._metric.fitted(sums)

    def state_dict(self) -> dict[str, Any]:
        """Return the thresholds, in the order of the labels."""
        return {"thresholds": self.thresholds.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the thresholds; raise ValueError where there is not one from 0 to 1 for each label."""
        thresholds = state["thresholds"]
        is_whole = isinstance(thresholds, list) and len(thresholds) == self.targets.num_outputs
        if not is_whole or not all(isinstance(value, float) and 0 < value < 1 for value in thresholds):
            raise ValueError(f"thresholds must be a number between 0 and 1 for each of the {self.targets}")
        self._metric.thresholds = torch.tensor(thresholds, dtype=torch.float64)

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return the scores of each label at its threshold, and by how much `map` may be off."""
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
        return [Table("weakest", columns, [[row[column] for column in columns] for row in rows], "  ".join(weakest))]

    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the macro F1 of probabilities `(N, K)`, NaN where one is."""
        if predictions.isnan().any():
            return math.nan
        given, true = self._given(predictions), targets > 0.5
        hits, marks = (given & true).sum(0), given.sum(0) + true.sum(0)
        return float((2 * hits / marks.double())[marks > 0].mean())

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether both give it the same labels, `(N,)` of bool."""
        is_rounding = (ours - theirs).abs() <= _ROUNDING
        return (is_rounding | (self._given(ours) == self._given(theirs))).all(1) & ~theirs.isnan().any(1)

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether it is given its labels and no other, `(N,)` of bool."""
        return (self._given(predictions) == (targets == 1)).all(1)

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return the labels of a sample, those that each network gives, and the probabilities that differ most."""
        differ = (ours - theirs).abs().nan_to_num(nan=math.inf).argsort(descending=True, stable=True)[:_WEAKEST]
        names = {self.targets.names[index]: index for index in differ.tolist()}
        return {
            "target": self._names(target > 0.5),
            "eager": self._names(self._given(ours[None])[0]),
            "artifact": self._names(self._given(theirs[None])[0]),
            "predictions_eager": {name: ours[index].item() for name, index in names.items()},
            "predictions_artifact": {name: theirs[index].item() for name, index in names.items()},
        }

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return the macro F1 of giving every sample each label that the training part has."""
        if not len(train_targets) or not len(targets):
            return None
        return self.score((train_targets > 0.5).any(0).double().expand(targets.shape), targets)

    def columns(self, top_k: int | None = None) -> list[str]:
        """Return each label, of which a sample is given it or not, and then a title for the probability of each."""
        return [*self.targets.names, *(f"probability_{name}" for name in self.targets.names)]

    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return 1 for each label that a sample is given and 0 for the others, and then their probabilities."""
        return [[*g, *p] for g, p in zip(self._given(predictions).int().tolist(), predictions.tolist(), strict=True)]

    def answers(self, predictions: Tensor) -> list[str]:
        """Return the labels given to each sample, with a space between them, as Kaggle takes them."""
        return [" ".join(self._names(row)) for row in self._given(predictions)]

    def _given(self, predictions: Tensor) -> Tensor:
        """Return which labels are given, `(N, K)` of bool."""
        return predictions >= self.thresholds.to(predictions.device, predictions.dtype)

    def _names(self, given: Tensor) -> list[str]:
        """Return the names of the labels that a sample is given."""
        return [name for name, is_given in zip(self.targets.names, given.tolist(), strict=True) if is_given]


def _finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None where there is none."""
    return value if math.isfinite(value) else None
