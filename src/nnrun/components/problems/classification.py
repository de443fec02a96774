"""Classification: scores `(N, C)` and targets `(N,)`, class numbers; the highest score is the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.base.targets import Targets
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Metric, Sums


class Classification:
    """Judge a network by its loss, accuracy and, for an evaluation, by the confusion of classes."""

    headline = "accuracy"

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], targets: Targets) -> None:
        self.loss = loss
        self.targets = targets
        self.train_metric: Metric = RunningAccuracy()
        self.eval_metric: Metric = ClassificationMetrics(targets.num_outputs)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each sample, `(N,)`.

        Raises ConfigError where the network does not give a score a class, or the loss not a value a sample.
        """
        num_samples = len(targets)
        check_scores(outputs, num_samples, self.targets)
        with calling("loss"):
            losses = self.loss(outputs, targets)
        if _shape(losses) != (num_samples,):
            raise ConfigError(
                f"loss gives {_shape(losses)} for a batch of {num_samples} samples; "
                f"allowed: one value a sample, {(num_samples,)}; give the loss reduction: none"
            )
        return losses

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

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the accuracy of scores `(N, C)`."""
        return (outputs.argmax(1) == targets).double().mean().item()

    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether both scores name the same class, `(N,)` of bool."""
        return ours.argmax(1) == theirs.argmax(1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return the softmax of scores `(N, C)`."""
        return outputs.softmax(1)

    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return the true class of a sample, the class that each network names, and the scores of those two, `(C,)`."""
        names = self.targets.names
        our_class, their_class = int(ours.argmax()), int(theirs.argmax())
        shown = dict.fromkeys((our_class, their_class))
        return {
            "target": names[int(target)],
            "eager": names[our_class],
            "artifact": names[their_class],
            "scores_eager": {names[index]: ours[index].item() for index in shown},
            "scores_artifact": {names[index]: theirs[index].item() for index in shown},
        }


class RunningAccuracy:
    """Mean loss and accuracy, cheap enough for every training step; of mixed samples that of their own target alone."""

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        return {name: _zero(device) for name in ("loss", "correct", "weight")}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        is_correct = outputs.argmax(1) == batch.targets
        _add_sums([sums["loss"], sums["correct"]], [losses, is_correct], batch)
        _add_weight(sums["weight"], batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss and accuracy; NaN where there was no sample. Waits for the device."""
        means = torch.stack([sums["loss"], sums["correct"]]) / sums["weight"]
        loss, accuracy = means.tolist()  # waits for the device
        return {"loss": loss, "accuracy": accuracy}


class ClassificationMetrics:
    """Mean loss, accuracy, top-5 accuracy (of more than five classes), and macro averages of precision, recall and F1.

    Macro averages weigh classes equally, as scikit-learn (`zero_division=0`) and torchmetrics do it: a class that is
    never predicted has precision 0, one that has no samples but is predicted has recall 0, and one that has neither
    samples nor predictions is left out of the average.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.has_top5 = num_classes > 5

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        names = ("loss", "weight", "top5_correct") if self.has_top5 else ("loss", "weight")
        shape = (self.num_classes, self.num_classes)
        return {name: _zero(device) for name in names} | {
            "confusion": torch.zeros(shape, dtype=torch.int64, device=device)
        }

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        _add_sums([sums["loss"]], [losses], batch)
        _add_weight(sums["weight"], batch)
        # index_add_, not bincount, which reads the largest class back to the host
        cell = batch.targets * self.num_classes + outputs.argmax(1)
        sums["confusion"].view(-1).index_add_(0, cell, batch.weight.long())
        if self.has_top5:
            among_five = (outputs.topk(5, dim=1).indices == batch.targets[:, None]).any(1)
            _add_sums([sums["top5_correct"]], [among_five], batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name; NaN where there was no sample. Waits for the device."""
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


def check_scores(outputs: object, num_samples: int, targets: Targets) -> None:
    """Raise ConfigError where what a network gives for a batch is not a score for each class."""
    expected = (num_samples, targets.num_outputs)
    if _shape(outputs) != expected:
        # Of a wrong width, the confusion matrix would be indexed out of its bounds, which on CUDA ends the process.
        raise ConfigError(
            f"model gives {_shape(outputs)} for a batch of {num_samples} samples; "
            f"allowed: a score for each of the {targets}, {expected}; "
            "give the model the number of classes, ${data.num_classes}"
        )


class ClassScores(NamedTuple):
    """Precision, recall and F1 of each class, `(C,)` float64 each; 0 where the quotient is 0/0."""

    precision: Tensor
    recall: Tensor
    f1: Tensor


def score_classes(confusion: Tensor) -> ClassScores:
    """Return the scores of each class from a confusion matrix of counts, true classes by predictions."""
    correct = confusion.diagonal().double()
    predicted, samples = confusion.sum(0), confusion.sum(1)
    # Where a denominator is 0, so is `correct`: dividing by 1 makes it 0.
    return ClassScores(
        correct / predicted.clamp(min=1),
        correct / samples.clamp(min=1),
        2 * correct / (predicted + samples).clamp(min=1),
    )


def _zero(device: torch.device) -> Tensor:
    """Return a sum of nothing, in fp64, so that long sums keep their digits; in fp32 on MPS, which has no fp64."""
    return torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


def _add_sums(totals: list[Tensor], values: list[Tensor], batch: Batch) -> None:
    """Add to each total the sum of its values over the samples of a batch, `(N,)`, in place."""
    if not batch.is_full:
        # Filled, because NaN times 0 is NaN: padding adds nothing, whatever the network made of it.
        values = [(value * batch.weight).masked_fill(batch.weight == 0, 0) for value in values]
    torch._foreach_add_(totals, [value.sum(dtype=total.dtype) for total, value in zip(totals, values, strict=True)])


def _add_weight(total: Tensor, batch: Batch) -> None:
    """Add the weight of a batch, in place."""
    total.add_(batch.num_samples if batch.is_full else batch.weight.sum())


def _shape(value: object) -> object:
    """Return a tensor's shape, or the name of another type, for comparing and for messages."""
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
