"""What the results of each sample show of a classification: curves, calibration, the costliest mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Shown, Table, Text, counted
from nnrun.components.problems import calibration
from nnrun.components.problems.curves import curve_of, odds, precision_recall_chart, roc_chart
from nnrun.components.problems.gallery import costliest, only_some

Array = np.ndarray[Any, Any]


def show_classes(results: SampleResults) -> list[Shown]:
    """Return curves and calibration, if all samples are kept, and the costliest mistakes."""
    assert results.predicted is not None, "these are results of classes"
    return [*_curves_and_calibration(results), *costliest(results, lambda row: _caption(results, row))]


def _curves_and_calibration(results: SampleResults) -> list[Shown]:
    if not results.is_whole:
        return [only_some(results)]
    num_bad = int((~np.isfinite(results.predictions).all(1)).sum())
    if num_bad or not len(results.indices):
        what = f"the probabilities of {counted(num_bad, 'sample')} are not numbers" if num_bad else "no test samples"
        return [Text("Curves and calibration", f"Not shown: {what}.")]
    return [*_curves(results), *_calibration(results), _coverage(results)]


def _curves(results: SampleResults) -> list[Shown]:
    """Return ROC and precision-recall curves: of two classes for the second, which is the positive one."""
    if results.columns is not None:
        num_kept = results.columns.shape[1]
        return [
            Text(
                "ROC and precision-recall curves",
                f"Not shown: of {len(results.names):,} classes, only the {num_kept} most probable ones of each sample "
                "are kept, and a curve needs the probability of a class for all samples.",
            )
        ]
    scores = odds(results.predictions)
    numbers = [1] if len(results.names) == 2 else range(len(results.names))
    found = [curve_of(results.names[number], scores[:, number], results.targets == number) for number in numbers]
    curves = [curve for curve in found if curve is not None]
    return [roc_chart(curves), precision_recall_chart(curves)] if curves else []


def _calibration(results: SampleResults) -> list[Shown]:
    """Return how far confidence can be trusted, and the best temperature."""
    is_right, confidences = _are_right(results), results.predictions.max(1)
    bins = calibration.binned(confidences, is_right)
    facts: list[tuple[str, object]] = [
        ("verdict", calibration.verdict(confidences, is_right)),
        ("mean confidence", float(confidences.mean(dtype=np.float64))),
        ("accuracy", float(is_right.mean())),
        calibration.ece_fact(bins),
    ]
    if results.columns is None:
        facts += _temperature(results, is_right, bins)
    if results.columns is None:
        note = (
            "Dividing the network's scores by the temperature does not change what it predicts. It was fitted on these "
            "test samples: fit it on others before you rely on it."
        )
    else:
        note = "No temperature: it needs the probabilities of all classes, of which only the most probable are kept."
    share = "accuracy"
    return [
        Table("Calibration", (), facts),
        Text("How to read it", f"Confidence is the probability of the predicted class. {note}"),
        calibration.reliability_chart(bins, share),
        calibration.confidence_chart(bins),
    ]


def _temperature(results: SampleResults, is_right: Array, bins: calibration.Bins) -> list[tuple[str, object]]:
    """Return the temperature and what it changes."""
    scores = calibration.log_probabilities(results.predictions)
    fitted = calibration.fit_temperature(scores, results.targets)
    if fitted.value is None:
        return [("temperature", "none is best: all samples are right, or probabilities are no better than a guess")]
    mended = calibration.binned(calibration.at_temperature(scores, fitted.value), is_right)
    losses = f"negative log-likelihood {fitted.loss_after:.4f} instead of {fitted.loss_before:.4f}"
    text = f"{fitted.value:.3f} (ECE {mended.ece:.4f} instead of {bins.ece:.4f}, {losses})"
    num_lost = int((results.predictions[np.arange(len(scores)), results.targets] == 0).sum())
    if num_lost:
        # Their scores are lower than half precision can tell.
        text = f"at least {text}; {counted(num_lost, 'sample')} had a probability of less than 3e-8 for the true class"
    return [("best temperature", text)]


def _coverage(results: SampleResults) -> Chart:
    """Return the accuracy of the most confident predictions, against their share of the samples."""
    order = np.argsort(-results.predictions.max(1).astype(np.float32), kind="stable")
    right = np.cumsum(_are_right(results)[order])
    shares = np.arange(1, 101) / 100
    counts = np.maximum(1, np.floor(shares * len(order) + 1e-9)).astype(int)
    accuracies = (right[counts - 1] / counts).tolist()
    note = "If only the most confident predictions are used and the rest is left to people."
    series = {"accuracy": accuracies}
    return Chart("Accuracy by coverage", "line", shares.tolist(), series, "share of samples", "accuracy", note=note)


def _are_right(results: SampleResults) -> Array:
    """Return for each sample whether the most probable class is the true one, `(N,)` of bool."""
    assert results.predicted is not None, "these are results of classes"
    is_right: Array = results.predicted == results.targets
    return is_right


def _caption(results: SampleResults, row: int) -> str:
    """Return the true class of a sample and the predicted one, with their probabilities if they are kept."""
    assert results.predicted is not None, "these are results of classes"
    numbers = range(len(results.names)) if results.columns is None else results.columns[row].tolist()
    kept = dict(zip(numbers, results.predictions[row].tolist(), strict=True))
    true, said = int(results.targets[row]), int(results.predicted[row])

    def worded(number: int) -> str:
        return f"{results.names[number]} ({kept[number]:.3f})" if number in kept else results.names[number]

    return f"{worded(true)}, predicted {worded(said)}"
