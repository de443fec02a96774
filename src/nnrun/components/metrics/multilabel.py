"""Multi-label metrics, from scores `(N, K)` (logits) and targets `(N, K)` of 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nnrun.components.metrics.sums import add_sums, add_weight, zero
from nnrun.core.seams.batch import Batch
from nnrun.core.seams.problem import Sums

# Scores are counted in bins whose edges are _SCALE times the sinh of equal steps: of equal width near 0, and of a width
# proportional to the score elsewhere, up to 1e4. With the most bins (up to 128 labels) the width is 1e-6, or 0.1 %.
_SCALE, _LARGEST = 1e-3, 1e4
_MOST_BINS, _FEWEST_BINS = 2**15, 2**10
# Maximum number of bins of all labels together, of 8 bytes each.
_MOST_CELLS = 2**22
# Thresholds are limited to this score, up to which fp32 distinguishes probabilities from 0 and 1.
_LARGEST_THRESHOLD_SCORE = math.log(9999)


class RunningLabels:
    """Mean loss, and micro F1 at a probability of 0.5, cheap enough for every training step.

    Mixed samples count with their own targets only.
    """

    higher_is_better: Mapping[str, bool] = {"loss": False, "f1_micro": True}

    def init(self, device: torch.device) -> Sums:
        """Return empty sums."""
        return {name: zero(device) for name in ("loss", "hits", "marks", "weight")}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        predicted, true = outputs >= 0, batch.targets > 0.5
        hits, marks = (predicted & true).sum(1), predicted.sum(1) + true.sum(1)
        add_sums([sums["loss"], sums["hits"], sums["marks"]], [losses, hits, marks], batch)
        add_weight(sums["weight"], batch)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss and micro F1; NaN without samples. Waits for the device."""
        loss, hits, marks, weight = torch.stack([sums[key] for key in ("loss", "hits", "marks", "weight")]).tolist()
        if weight == 0:
            return {"loss": math.nan, "f1_micro": math.nan}
        return {"loss": loss / weight, "f1_micro": 2 * hits / max(marks, 1)}


class MultilabelMetrics:
    """Mean loss, F1 (macro and micro, at the threshold of each label), and mean average precision (`map`).

    All except the loss is computed from the number of samples with and without a label in each bin of scores. Average
    precision equals scikit-learn's on scores rounded to their bin; `uncertainty_of` bounds its error.
    Conventions: a label that has no samples and no predictions is excluded from macro F1 (scikit-learn's
    `zero_division=nan`), one that has no samples is excluded from `map` (scikit-learn counts it as 0); micro F1
    without any label is 0. If a score is NaN, all of these are NaN.
    """

    higher_is_better: Mapping[str, bool] = {
        "loss": False,
        "f1_macro": True,
        "f1_micro": True,
        "map": True,
    }

    def __init__(self, num_labels: int) -> None:
        self.num_labels = num_labels
        self.edges = score_edges(num_labels)
        self.thresholds = torch.full((num_labels,), 0.5, dtype=torch.float64)
        self._on_device: tuple[Tensor, Tensor] | None = None

    def init(self, device: torch.device) -> Sums:
        """Return empty sums; `counts` is `(K, bins, 2)`: samples without and with each label."""
        counts = torch.zeros(self.num_labels, len(self.edges) + 1, 2, dtype=torch.int32, device=device)
        bad = torch.zeros(self.num_labels, dtype=torch.int64, device=device)
        return {"loss": zero(device), "weight": zero(device), "counts": counts, "nan": bad}

    @torch.no_grad()
    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        """Add a batch to the sums, in place, without waiting for the device."""
        add_sums([sums["loss"]], [losses], batch)
        add_weight(sums["weight"], batch)
        edges, first_cells = self._constants(outputs.device)
        weight = batch.weight.int()[:, None]
        bins = torch.bucketize(outputs.float().contiguous(), edges, right=True)
        cells = first_cells + 2 * bins + (batch.targets > 0.5)
        sums["counts"].view(-1).index_add_(0, cells.view(-1), weight.expand_as(cells).reshape(-1))
        sums["nan"] += (outputs.isnan() * weight).sum(0)

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return the metrics by name; NaN without samples. Waits for the device."""
        scores, loss = self.score_labels(sums), float(sums["loss"] / sums["weight"])  # waits for the device
        is_unknown = bool(scores.is_nan.any()) or float(sums["weight"]) == 0
        return {
            "loss": loss,
            "f1_macro": _mean(scores.f1, (scores.marks > 0) | scores.is_nan),
            "f1_micro": math.nan if is_unknown else float(_f1(scores.hits.sum(), scores.marks.sum())),
            "map": _mean(scores.average_precision, (scores.samples > 0) | scores.is_nan),
        }

    def score_labels(self, sums: Sums) -> LabelScores:
        """Return the scores of each label at its threshold. Waits for the device."""
        negatives, positives = sums["counts"].cpu().unbind(2)  # waits for the device
        is_nan = sums["nan"].cpu() > 0
        # The edge nearest to each threshold, then the first bin above it.
        bins = torch.bucketize(self.thresholds.logit(), (self.edges[1:] + self.edges[:-1]).double() / 2)[:, None] + 1
        hits = _from_top(positives).gather(1, bins)[:, 0]
        predicted = hits + _from_top(negatives).gather(1, bins)[:, 0]
        samples = positives.sum(1)
        quotients = (
            hits / predicted.clamp(min=1).double(),
            hits / samples.clamp(min=1).double(),
            _f1(hits, predicted + samples),
            average_precision(positives, negatives),
        )
        known = (quotient.masked_fill(is_nan, math.nan) for quotient in quotients)
        return LabelScores(hits, predicted + samples, samples, is_nan, *known)

    def uncertainty(self, sums: Sums) -> float:
        """Return a bound on the error of `map`, because scores in one bin count as equal. Waits for the device."""
        negatives, positives = sums["counts"].cpu().unbind(2)  # waits for the device
        return _mean(uncertainty_of(positives, negatives), positives.sum(1) > 0)

    def fitted(self, sums: Sums) -> Tensor:
        """Return the threshold of each label with the largest F1, `(K,)` of probabilities. Waits for the device.

        Ties go to the threshold nearest to 0.5, so a label without samples, or with a NaN score, gets 0.5.
        """
        negatives, positives = sums["counts"].cpu().unbind(2)  # waits for the device
        hits = _from_top(positives)[:, 1:]
        f1 = _f1(hits, hits + _from_top(negatives)[:, 1:] + positives.sum(1, keepdim=True))
        f1[sums["nan"].cpu() > 0] = 0
        distance = self.edges.double().abs()
        f1[:, distance > _LARGEST_THRESHOLD_SCORE] = -1
        nearest = distance.expand_as(f1).masked_fill(f1 < f1.amax(1, keepdim=True), math.inf).argmin(1)
        return self.edges.double()[nearest].sigmoid()

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the edges, and the index of each label's first cell, on a device. Waits for it once."""
        if self._on_device is None or self._on_device[0].device != device:
            cells = 2 * (len(self.edges) + 1)
            first = torch.arange(0, self.num_labels * cells, cells)
            self._on_device = self.edges.to(device), first.to(device)
        return self._on_device


class LabelScores(NamedTuple):
    """The counts and scores of each label, `(K,)`.

    `hits` counts true positives, `samples` the samples with the label, `marks` these plus the samples for which it is
    predicted. The others are quotients, float64, NaN if a score is NaN.
    """

    hits: Tensor
    marks: Tensor
    samples: Tensor
    is_nan: Tensor
    precision: Tensor
    recall: Tensor
    f1: Tensor
    average_precision: Tensor


def score_edges(num_labels: int) -> Tensor:
    """Return the edges between the bins of scores, float32, ascending; the middle one is 0."""
    num_bins = _MOST_BINS
    while num_bins > _FEWEST_BINS and num_bins * num_labels > _MOST_CELLS:
        num_bins //= 2
    side = math.asinh(_LARGEST / _SCALE)
    upper = _SCALE * torch.linspace(0, side, num_bins // 2, dtype=torch.float64).sinh()[1:]
    return torch.cat([-upper.flip(0), torch.zeros(1, dtype=torch.float64), upper]).float()


def average_precision(positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the average precision of each label, float64 `(K,)`, from counts `(K, bins)`: the mean over its samples of
    the precision at their bin as threshold. NaN for a label without samples.
    """
    hits, misses = _from_top(positives), _from_top(negatives)
    precision = hits / (hits + misses).clamp(min=1).double()
    return (positives * precision).sum(1) / positives.sum(1)


def uncertainty_of(positives: Tensor, negatives: Tensor) -> Tensor:
    """Return a bound on the error of each label's average precision, `(K,)`, because scores in a bin count as equal.

    Within a bin, samples with the label may rank first or last. Their precision is highest without the bin's other
    samples, and lowest for the first of them ranked after all others.
    """
    hits, misses = _from_top(positives).double(), _from_top(negatives).double()
    taken = hits / (hits + misses).clamp(min=1)
    highest = hits / (hits + misses - negatives).clamp(min=1)
    first = hits - positives + 1
    off = torch.maximum(highest - taken, taken - first / (first + misses))
    return (positives * off).sum(1) / positives.sum(1)


def _from_top(counts: Tensor) -> Tensor:
    """Return the count in each bin and above, `(K, bins)`."""
    return counts.flip(1).cumsum(1).flip(1)


def _f1(hits: Tensor, marks: Tensor) -> Tensor:
    """Return F1, float64, from `hits` and `marks` as in LabelScores; 0 if there are none."""
    return 2 * hits / marks.clamp(min=1).double()


def _mean(values: Tensor, counted: Tensor) -> float:
    """Return the mean of the values selected by `counted`; NaN if there are none, or one is NaN."""
    return float(values[counted].mean())
