"""What kind of learning a run is: its metrics, and what a network's outputs and its targets mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from nnrun.base.shown import Shown
from nnrun.base.targets import Kind, Targets
from nnrun.core.seams.batch import Batch

Sums = dict[str, Tensor]
# What an artifact gives: scores, as the network's outputs mean them, or probabilities made of these.
Output = Literal["scores", "probabilities"]


class Metric(Protocol):
    """Sums that live on the device, add up over batches and over ranks, and are read once.

    A problem's own metrics are given a network's outputs, those of the group `metric` its predictions: probabilities,
    or values in the data's units. `higher_is_better` says of each value that `compute` returns which way is better.
    """

    higher_is_better: Mapping[str, bool]

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        ...

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device.

        `losses` are those of its samples, `(N,)`. A sample of weight 0 is padding, and adds nothing.
        """
        ...

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name. Waits for the device."""
        ...


class Problem(ABC):
    """What kind of learning a run is: the base class of ours and of users' own.

    A network's *outputs* are what it gives, `(N, K)`; its *scores* are these in the data's units, and what an artifact
    gives by default; its *predictions* are probabilities, or the values that are predicted. `kind` is that of the
    targets it is for, `headline` the metric to quote, of which more is better.
    """

    kind: ClassVar[Kind]
    headline: str
    # Whether its scores can be given as probabilities too.
    has_probabilities: ClassVar[bool] = True
    # What is said where there is no validation part to choose on, as `fit_validation` does.
    without_validation: ClassVar[str] = ""
    # Cheap enough for each step, and all that an evaluation measures.
    train_metric: Metric
    eval_metric: Metric

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def in_short(self, metrics: Sequence[str]) -> list[str]:
        """Return which of the metrics that were measured a line has room for, in their order: the headline first."""
        return sorted(metrics, key=lambda name: name != self.headline)

    def check_outputs(self, outputs: object, num_samples: int) -> None:  # noqa: B027 - most need not
        """Raise ConfigError where what a network gives for a batch is not what its metrics can take."""

    def learned(self, targets: Tensor) -> Tensor:
        """Return targets as the loss takes them: as they are, unless the network learns something easier."""
        return targets

    def scores(self, outputs: Tensor) -> Tensor:
        """Return outputs in the data's units."""
        return outputs

    def predictions(self, scores: Tensor) -> Tensor:
        """Return scores as probabilities, or as the values predicted, of the same shape."""
        return scores

    @abstractmethod
    def final_layer(self, output: Output) -> nn.Module:
        """Return what makes a network's outputs what an artifact gives; every exporter can express it."""

    def described(self, output: Output) -> str:
        """Return in words what an artifact gives, for those who have nothing else."""
        return f"{output}, float32, (N, {self.targets.kind})"

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return what the summary says of a split beyond the metrics, as plain values."""
        return {}

    def show(self, report: Mapping[str, Any]) -> list[Shown]:
        """Return what people are shown of a report."""
        return []

    @abstractmethod
    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the headline metric of one network's predictions on a whole split."""

    @abstractmethod
    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether two networks' predictions mean the same, `(N,)` of bool."""

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether its prediction is what it should be, `(N,)` of bool."""
        return self.agreement(predictions, targets)

    @abstractmethod
    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return what two networks predict for one sample, as plain values.

        `target`, `eager` and `artifact` say it in words, `predictions_eager` and `predictions_artifact` by name.
        """

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return the headline metric, on `targets`, of the best guess that is the same for every sample."""
        return None

    @abstractmethod
    def columns(self, top_k: int | None = None) -> list[str]:
        """Return the titles of what is said of a sample's prediction; `top_k` asks for so many alternatives."""

    @abstractmethod
    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return what is said of each sample's prediction, under the titles of `columns`."""

    @abstractmethod
    def answers(self, predictions: Tensor) -> list[str]:
        """Return the prediction of each sample as one text."""

    def fit_targets(self, targets: Tensor) -> list[str]:
        """Take from the training part's targets what the network is trained with, before it is; return what to say."""
        return []

    def fit_validation(self, sums: Sums) -> None:  # noqa: B027 - most need not
        """Choose what is chosen on the validation part, after each validation, from the sums of its metric."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was fitted, as plain values: it is saved with each checkpoint and with what is exported."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most need not
        """Take up what `state_dict` returned; raise ValueError where it is not for these targets."""


def mean_loss(losses: Tensor, batch: Batch, num_samples: int) -> Tensor:
    """Return a batch's part of the mean over an update's samples; padding has no part in it."""
    if batch.is_full:
        return losses.mean() if num_samples == batch.num_samples else losses.sum() / num_samples
    return (losses * batch.weight).sum() / num_samples
