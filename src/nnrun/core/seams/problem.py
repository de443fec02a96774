"""What kind of learning a run is: its metrics, and what a network's outputs and its targets mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Shown
from nnrun.base.targets import Kind, Targets
from nnrun.core.seams.batch import Batch

Sums = dict[str, Tensor]
# What an artifact returns: scores, or probabilities computed from them.
Output = Literal["scores", "probabilities"]


class Metric(Protocol):
    """Sums on the device that add up over batches and over ranks, and are read once.

    A problem's own metrics receive a network's outputs, those of the group `metric` its predictions: probabilities,
    or values in the data's units. `higher_is_better` has an entry for each value that `compute` returns.
    """

    higher_is_better: Mapping[str, bool]

    def init(self, device: torch.device) -> Sums:
        """Return the sums of no samples."""
        ...

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device.

        `losses` are the losses of its samples, `(N,)`. A sample of weight 0 is padding, and adds nothing.
        """
        ...

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name. Waits for the device."""
        ...


class Problem(ABC):
    """What kind of learning a run is: the base class of built-in and custom problems.

    A network's *outputs* are what it returns, `(N, K)`; its *scores* are the outputs in the data's units, which an
    artifact returns by default; its *predictions* are probabilities, or the predicted values. `kind` is the kind of
    targets that it is for, `headline` the main metric, for which higher is better.
    """

    kind: ClassVar[Kind]
    headline: str
    # Whether its scores can be turned into probabilities.
    has_probabilities: ClassVar[bool] = True
    # The note to print if there is no validation split for `fit_validation`.
    without_validation: ClassVar[str] = ""
    # One that is cheap enough for each step, and one with everything that an evaluation measures.
    train_metric: Metric
    eval_metric: Metric

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def in_short(self, metrics: Sequence[str]) -> list[str]:
        """Return the measured metrics for a single line, in order: the main metric first."""
        return sorted(metrics, key=lambda name: name != self.headline)

    def check_outputs(self, outputs: object, num_samples: int) -> None:  # noqa: B027 - most need not
        """Raise ConfigError if the metrics cannot take a network's output for a batch."""

    def learned(self, targets: Tensor) -> Tensor:
        """Return targets as the loss takes them: unchanged, unless the network learns transformed ones."""
        return targets

    def scores(self, outputs: Tensor) -> Tensor:
        """Return outputs in the data's units."""
        return outputs

    def predictions(self, scores: Tensor) -> Tensor:
        """Return scores as probabilities, or as the predicted values, in the same shape."""
        return scores

    def decided(self, predictions: Tensor) -> Tensor | None:
        """Return what follows from predictions: class numbers `(N,)`, labels `(N, K)` of bool; None if nothing does."""
        return None

    @abstractmethod
    def final_layer(self, output: Output) -> nn.Module:
        """Return the module from a network's outputs to what an artifact returns; every exporter can express it."""

    def described(self, output: Output) -> str:
        """Describe in words what an artifact returns, for people who have only the artifact."""
        return f"{output}, float32, (N, {self.targets.kind})"

    def report(self, sums: Sums) -> dict[str, Any]:
        """Return what the summary holds for a split besides the metrics, as plain values."""
        return {}

    def show(self, report: Mapping[str, Any]) -> list[Shown]:
        """Return what shows a report of `report`, read back from JSON: tables, charts and texts, in order.

        The console prints the summary of each table that has one, after its label.
        """
        return []

    def show_samples(self, results: SampleResults) -> list[Shown]:
        """Return what the results of each sample show, in order: curves, calibration, the costliest mistakes.

        `results` may hold only some of the samples, those with the largest losses (`results.is_whole`), and of many
        classes only the most probable (`results.columns`). Names are passed as they are: the page escapes them. A page
        without anything from here still has the metrics.
        """
        return []

    def interval(self, results: SampleResults) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of the main metric over samples such as these; None if there is none.

        None is also the answer if not all samples are kept. `nnrun.api` has the interval of a share, `wilson`, and
        `bootstrap` for a metric that follows from sums over samples.
        """
        return None

    @abstractmethod
    def score(self, predictions: Tensor, targets: Tensor) -> float:
        """Return the main metric of one network's predictions on a whole split."""

    @abstractmethod
    def agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return for each sample whether two networks' predictions mean the same, `(N,)` of bool."""

    def are_right(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample whether its prediction is right, `(N,)` of bool."""
        return self.agreement(predictions, targets)

    @abstractmethod
    def compare(self, ours: Tensor, theirs: Tensor, target: Tensor) -> dict[str, Any]:
        """Return the predictions of two networks for one sample, as plain values.

        `target`, `eager` and `artifact` are in words, `predictions_eager` and `predictions_artifact` by name.
        """

    def baseline(self, train_targets: Tensor, targets: Tensor) -> float | None:
        """Return the main metric, on `targets`, of the constant prediction that is best on the training split."""
        return None

    @abstractmethod
    def columns(self, top_k: int | None = None) -> list[str]:
        """Return the column titles for a sample's prediction; `top_k` is the number of alternatives to list."""

    @abstractmethod
    def rows(self, predictions: Tensor, top_k: int | None = None) -> list[list[Any]]:
        """Return the cells for each sample's prediction, under the titles of `columns`."""

    @abstractmethod
    def answers(self, predictions: Tensor) -> list[str]:
        """Return the prediction of each sample as one text."""

    def fit_targets(self, targets: Tensor) -> list[str]:
        """Fit what training needs to the training split's targets, before it starts; return lines to print."""
        return []

    def fit_validation(self, sums: Sums) -> None:  # noqa: B027 - most need not
        """Fit what is chosen on the validation split, after each validation, from the sums of its metric."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was fitted, as plain values: it is saved with each checkpoint and each artifact."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most need not
        """Restore what `state_dict` returned; raise ValueError if it is not for these targets."""


def mean_loss(losses: Tensor, batch: Batch, num_samples: int) -> Tensor:
    """Return a batch's share of the mean over an update's samples, without padding."""
    if batch.is_full:
        return losses.mean() if num_samples == batch.num_samples else losses.sum() / num_samples
    return (losses * batch.weight).sum() / num_samples
