"""Classification: scores `(N, C)` and targets `(N,)`, class numbers; the highest score is the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnrun.base.errors import ConfigError
from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Shown, counted
from nnrun.base.targets import Kind, Targets
from nnrun.components.metrics.classification import ClassificationMetrics, RunningAccuracy, score_classes
from nnrun.components.problems.confusion import class_table, confused_pairs, matrix_charts
from nnrun.core.seams.problem import Metric, Output, Problem, Sums
from nnrun.runs.intervals import of_class_f1, wilson


class Classification(Problem):
    """Measure loss and accuracy; in an evaluation also precision, recall, F1 and the confusion matrix."""

    kind: ClassVar[Kind] = "classes"
    headline = "accuracy"

    def __init__(self, targets: Targets) -> None:
        super().__init__(targets)
        self.train_metric: Metric = RunningAccuracy()
        self.eval_metric: Metric = ClassificationMetrics(targets.num_outputs)

    def in_short(self, metrics: Sequence[str]) -> list[str]:
        """Return the metrics without precision and recall, which F1 summarizes; the main metric comes first."""
        first = dict.fromkeys((self.headline, "accuracy", "top5_accuracy", "loss", "f1"))
        return [
            *(name for name in first if name in metrics),
            *(name for name in metrics if name not in (*first, "precision", "recall")),
        ]

    def check_outputs(self, outputs: object, num_samples: int) -> None:
        """Raise ConfigError unless a network's output for a batch is a score for each class, `(N, C)`."""
        expected = (num_samples, self.targets.num_outputs)
        if not isinstance(outputs, Tensor) or outputs.shape != expected:
            # A wrong width would index the confusion matrix out of bounds, which ends the process on CUDA.
            gives = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise ConfigError(
                f"model returns {gives} for a batch of {counted(num_samples, 'sample')}; "
                f"allowed: a score for each of the {self.targets}, {expected}; "
                "set the model's number of outputs to ${data.num_classes}"
            )

    def predictions(self, scores: Tensor) -> Tensor:
        """Return the softmax of scores `(N, C)`."""
        return scores.softmax(1)

    def decided(self, predictions: Tensor) -> Tensor:
        """Return the most probable class of each sample, `(N,)`."""
        return predictions.argmax(1)

    def final_layer(self, output: Output) -> nn.Module:
        """Return the softmax for probabilities, the identity for scores."""
        return nn.Softmax(1) if output == "probabilities" else nn.Identity()

    def described(self, output: Output) -> str:
        """Return a description of an artifact's output."""
        kind = "class scores before the softmax (logits)" if output == "scores" else "class probabilities (softmax)"
        return f"{kind}, float32, (N, classes)"

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return the scores of each class, and the confusion matrix: rows are true classes, columns predictions."""
        confusion = sums["confusion"].cpu()  # waits for the device
        scores = score_classes(confusion)
        columns = (scores.precision.tolist(), scores.recall.tolist(), scores.f1.tolist(), confusion.sum(1).tolist())
        return {
            "per_class": [
                {"class": name, "precision": precision, "recall": recall, "f1": f1, "samples": samples}
                for name, precision, recall, f1, samples in zip(self.targets.names, *columns, strict=True)
            ],
            "confusion_matrix": confusion.tolist(),
        }

    def show(self, report: Mapping[str, Any]) -> list[Shown]:
        """Return the scores of the classes, the weakest first, the confused pairs, and the confusion matrix."""
        shown: list[Shown] = [class_table(report.get("per_class", ()))]
        if matrix := report.get("confusion_matrix"):
            shown += [confused_pairs(self.targets.names, matrix), *matrix_charts(self.targets.names, matrix)]
        return shown

    def show_samples(self, results: SampleResults) -> list[Shown]:
        """Return ROC and precision-recall curves, calibration, accuracy by coverage, and the costliest mistakes."""
        from nnrun.components.problems.class_results import show_classes  # noqa: PLC0415 - for reports

        return show_classes(results)

    def interval(self, results: SampleResults) -> tuple[float, float] | None:
        """Return the interval of accuracy, by Wilson, or of macro F1, if that is the main metric, by a bootstrap."""
        num_samples = len(results.indices)
        if not results.is_whole or num_samples < 2 or results.predicted is None:
            return None
        if self.headline == "accuracy":
            return wilson(int((results.predicted == results.targets).sum()), num_samples)
        return of_class_f1(results.predicted, results.targets, len(results.names)) if self.headline == "f1" else None

    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the accuracy of predictions `(N, C)`."""
        return self.are_right(predictions, targets).double().mean().item()

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether both predict the same class, `(N,)` of bool."""
        return ours.argmax(1) == theirs.argmax(1)

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether its prediction is correct, `(N,)` of bool."""
        return predictions.argmax(1) == targets

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return a sample's true class, the class that each network predicts, and the probabilities of those two."""
        names = self.targets.names
        our_class, their_class = int(ours.argmax()), int(theirs.argmax())
        shown = dict.fromkeys((our_class, their_class))
        return {
            "target": names[int(target)],
            "eager": names[our_class],
            "artifact": names[their_class],
            "predictions_eager": {names[index]: ours[index].item() for index in shown},
            "predictions_artifact": {names[index]: theirs[index].item() for index in shown},
        }

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return the accuracy of always predicting the most frequent class of the training split."""
        if not len(train_targets) or not len(targets):
            return None
        most_frequent = torch.bincount(train_targets, minlength=self.targets.num_outputs).argmax()
        return (targets == most_frequent).double().mean().item()

    def columns(self, top_k: int | None = None) -> list[str]:
        """Return the titles for class and probability, then those for the `top_k` most probable classes."""
        ranks = range(1, min(top_k or 0, self.targets.num_outputs) + 1)
        return ["class", "probability", *(f"{what}_{r}" for r in ranks for what in ("class", "probability"))]

    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return each sample's most probable class with its probability, then its `top_k` classes likewise."""
        num_ranks = min(top_k or 0, self.targets.num_outputs)
        # Ties go to the first class, as in argmax.
        ranked, order = predictions.sort(dim=1, descending=True, stable=True)
        ranked, order = ranked[:, : max(num_ranks, 1)], order[:, : max(num_ranks, 1)]
        rows = []
        for classes, probabilities in zip(order.tolist(), ranked.tolist(), strict=True):
            pairs = [(self.targets.names[index], value) for index, value in zip(classes, probabilities, strict=True)]
            rows.append([value for pair in (pairs[0], *pairs[:num_ranks]) for value in pair])
        return rows

    def answers(self, predictions: Tensor) -> list[str]:
        """Return the name of each sample's most probable class."""
        return [self.targets.names[index] for index in predictions.argmax(1).tolist()]
