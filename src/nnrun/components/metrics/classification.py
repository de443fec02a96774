"""Classification metrics, from scores `(N, C)`, whose highest is the prediction, and class indices `(N,)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.components.metrics.sums import add_sums, add_weight, zero
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums


class RunningAccuracy:
    """Mean loss and accuracy, cheap enough for every training step. Mixed samples count with their own target only."""

    higher_is_better: Mapping[str, bool] = {"loss": False, "accuracy": True}

    def init(self, device: torch.device) -> Sums:
        """Return empty sums."""
        return {name: zero(device) for name in ("loss", "correct", "weight")}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        is_correct = outputs.argmax(1) == batch.targets
        add_sums([sums["loss"], sums["correct"]], [losses, is_correct], batch)
        add_weight(sums["weight"], batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss and accuracy; NaN without samples. Waits for the device."""
        means = torch.stack([sums["loss"], sums["correct"]]) / sums["weight"]
        loss, accuracy = means.tolist()  # waits for the device
        return {"loss": loss, "accuracy": accuracy}


class ClassificationMetrics:
    """Mean loss, accuracy, top-5 accuracy (for more than five classes), and macro-averaged precision, recall and F1.

    Macro averages weight classes equally, as in scikit-learn (`zero_division=0`) and torchmetrics: a class that is
    never predicted has precision 0, one that has no samples but is predicted has recall 0, and one that has neither
    samples nor predictions is excluded from the average.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.has_top5 = num_classes > 5
        names = ("accuracy", *(("top5_accuracy",) if self.has_top5 else ()), "precision", "recall", "f1")
        self.higher_is_better: Mapping[str, bool] = {"loss": False, **dict.fromkeys(names, True)}

    def init(self, device: torch.device) -> Sums:
        """Return empty sums."""
        names = ("loss", "weight", "top5_correct") if self.has_top5 else ("loss", "weight")
        shape = (self.num_classes, self.num_classes)
        return {name: zero(device) for name in names} | {
            "confusion": torch.zeros(shape, dtype=torch.int64, device=device)
        }

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        add_sums([sums["loss"]], [losses], batch)
        add_weight(sums["weight"], batch)
        # index_add_, not bincount, which reads the largest class back to the host
        cell = batch.targets * self.num_classes + outputs.argmax(1)
        sums["confusion"].view(-1).index_add_(0, cell, batch.weight.long())
        if self.has_top5:
            among_five = (outputs.topk(5, dim=1).indices == batch.targets[:, None]).any(1)
            add_sums([sums["top5_correct"]], [among_five], batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name; NaN without samples. Waits for the device."""
        confusion = sums["confusion"].cpu()  # waits for the device
        scores = score_classes(confusion)
        metrics = {
            "loss": float(sums["loss"] / sums["weight"]),
            "accuracy": float(confusion.diagonal().sum().double() / confusion.sum()),
        }
        if self.has_top5:
            metrics["top5_accuracy"] = float(sums["top5_correct"] / sums["weight"])
        seen = confusion.sum(0) + confusion.sum(1) > 0
        return metrics | {name: float(values[seen].mean()) for name, values in scores._asdict().items()}


class ClassScores(NamedTuple):
    """Precision, recall and F1 of each class, `(C,)` float64 each; 0/0 counts as 0."""

    precision: Tensor
    recall: Tensor
    f1: Tensor


def score_classes(confusion: Tensor) -> ClassScores:
    """Return the scores of each class from a confusion matrix of counts: rows are true classes, columns predictions."""
    correct = confusion.diagonal().double()
    predicted, samples = confusion.sum(0), confusion.sum(1)
    # If a denominator is 0, so is `correct`: dividing by 1 gives 0.
    return ClassScores(
        correct / predicted.clamp(min=1),
        correct / samples.clamp(min=1),
        2 * correct / (predicted + samples).clamp(min=1),
    )
