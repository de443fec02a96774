"""What the results of each sample show of several labels: curves, calibration, labels that are confused."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Shown, Table, Text, counted
from nnrun.components.problems import calibration
from nnrun.components.problems.curves import curve_of, precision_recall_chart, roc_chart
from nnrun.components.problems.gallery import costliest, only_some

Array = np.ndarray[Any, Any]
# Labels of a chart of all pairs, and pairs in a table.
_MOST_DRAWN, _MOST_PAIRS = 40, 50
# Labels named in a caption.
_MOST_NAMED = 4


def show_labels(results: SampleResults, predicted: Array) -> list[Shown]:
    """Return curves, calibration, and confused labels, if all samples are kept, and the costliest mistakes.

    `predicted` says which labels are predicted, `(N, K)` of bool.
    """
    gallery = costliest(results, lambda row: _caption(results, row, predicted[row]))
    if not results.is_whole:
        return [only_some(results), *gallery]
    num_bad = int((~np.isfinite(results.predictions).all(1)).sum())
    if num_bad or not len(predicted):
        what = f"the probabilities of {counted(num_bad, 'sample')} are not numbers" if num_bad else "no test samples"
        return [Text("Curves and calibration", f"Not shown: {what}."), *gallery]
    true = results.targets.astype(bool)
    return [*_curves(results, true), *_calibration(results, true), *_together(results.names, true, predicted), *gallery]


def _curves(results: SampleResults, true: Array) -> list[Shown]:
    """Return precision-recall and ROC curves of the labels."""
    scores = results.predictions
    if scores.dtype == np.float16:
        # The bits of numbers from 0 up are in the order of the numbers, and integers of 16 bits are sorted fast.
        scores = np.abs(scores).view(np.int16)
    found = [curve_of(name, scores[:, k], true[:, k]) for k, name in enumerate(results.names)]
    curves = [curve for curve in found if curve is not None]
    return [precision_recall_chart(curves), roc_chart(curves)] if curves else []


def _calibration(results: SampleResults, true: Array) -> list[Shown]:
    """Return how far the probabilities of labels can be trusted: of all of them together, and of each label."""
    values, is_true = results.predictions.astype(np.float32), true
    bins = calibration.binned(values.ravel(), is_true.ravel())
    facts: list[tuple[str, object]] = [
        ("verdict", calibration.verdict(values.ravel(), is_true.ravel(), "too low", "too high")),
        ("mean probability", float(values.mean(dtype=np.float64))),
        ("share of labels that are true", float(is_true.mean())),
        calibration.ece_fact(bins),
    ]
    of_each = [
        (name, int(is_true[:, k].sum()), float(is_true[:, k].mean()), float(values[:, k].mean(dtype=np.float64)),
         calibration.binned(values[:, k], is_true[:, k]).ece)
        for k, name in enumerate(results.names)
    ]  # fmt: skip
    of_each.sort(key=lambda row: -row[-1])
    columns = ("label", "samples", "share of the samples", "mean probability", "ECE")
    share = "share with the label"
    return [
        Table("Calibration", (), facts),
        Table("Calibration of each label, the worst first", columns, of_each),
        calibration.reliability_chart(bins, share, "probability"),
        calibration.confidence_chart(bins, "probability"),
    ]


def _together(names: tuple[str, ...], true: Array, predicted: Array) -> list[Shown]:
    """Return which labels are predicted in place of others, and how often labels occur together."""
    missed, added, exact = true & ~predicted, predicted & ~true, true.astype(np.float32)
    instead = missed.T.astype(np.float32) @ added.astype(np.float32)
    order = np.argsort(-instead, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [(int(cell) // len(names), int(cell) % len(names)) for cell in order]
    cells = [(names[a], names[b], int(instead[a, b]), int(missed[:, a].sum())) for a, b in pairs if instead[a, b] > 0]
    columns = ("missed", "wrongly predicted", "samples", "of the samples that miss it")
    shown: list[Shown] = [Table("Labels predicted in place of others", columns, cells)] if cells else []
    if 1 < len(names) <= _MOST_DRAWN:
        counts = exact.T @ exact
        totals = counts.diagonal()
        series = {
            name: (counts[a] / totals[a]).tolist() if totals[a] else [None] * len(names) for a, name in enumerate(names)
        }
        note = "Of the test samples with the label of a row, the share that also has the label of the column."
        shown.append(Chart("Labels that occur together", "heatmap", names, series, "also has", "label", note=note))
    return shown


def _caption(results: SampleResults, row: int, predicted: Array) -> str:
    """Return which labels of a sample are missed and which are wrongly predicted, with their probabilities."""
    true, values = results.targets[row].astype(bool), results.predictions[row].tolist()

    def listed(numbers: Array) -> str:
        first = [f"{results.names[k]} ({values[k]:.3f})" for k in numbers[:_MOST_NAMED].tolist()]
        more = len(numbers) - len(first)
        return ", ".join([*first, *([f"{more} more"] if more > 0 else [])])

    kinds = (("missed", true & ~predicted), ("wrongly predicted", predicted & ~true), ("right", true & predicted))
    parts = [f"{title} {listed(np.flatnonzero(is_of))}" for title, is_of in kinds if is_of.any()]
    return "; ".join(parts) or "no label, rightly"
