"""What the results of each sample show of a regression: errors, prediction against truth, residuals."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Shown, Table, Text, counted
from nnrun.components.problems.gallery import CONTENTS, costliest, only_some, sample_names

Array = np.ndarray[Any, Any]
# Points that a chart shows; of more samples, a random choice that is always the same.
_MOST_POINTS = 1000
_NUM_BARS = 30
# Samples in the table of the largest errors.
_NUM_LARGEST = 10
# Targets with charts of their own: of more, those with the lowest R2.
_MOST_TARGETS = 4


def show_values(results: SampleResults) -> list[Shown]:
    """Return errors and charts of each target, if all samples are kept, and the samples with the largest errors."""
    gallery = costliest(results, lambda row: _caption(results, row))
    if not results.is_whole:
        return [only_some(results), *gallery]
    gallery = gallery if results.pictures else []  # without pictures, the tables of errors say more
    num_bad = int((~np.isfinite(results.predictions).all(1)).sum())
    if num_bad or not results.num_samples:
        why = f"the predictions for {counted(num_bad, 'sample')} are not finite" if num_bad else "no test samples"
        return [Text("Errors and residuals", f"Not shown: {why}."), *gallery]
    predictions, targets = results.predictions.astype(np.float64), results.targets.astype(np.float64)
    scores = [_scores(predictions[:, k], targets[:, k]) for k in range(len(results.names))]
    columns = ("target", "R2", "MAE", "RMSE", "bias", "half of the errors below", "90 % below", "largest error")
    rows = [(name, *numbers) for name, numbers in zip(results.names, scores, strict=True)]
    reading = "A residual is the prediction minus the true value; the bias is the mean residual."
    shown: list[Shown] = [Table("Errors of each target", columns, rows), Text("How to read it", reading)]
    r2 = np.array([-np.inf if numbers[0] is None else numbers[0] for numbers in scores])
    worst = np.argsort(r2, kind="stable")[:_MOST_TARGETS].tolist()
    if len(rows) > _MOST_TARGETS:
        shown.append(Text("Charts", f"Of {len(rows):,} targets, the {_MOST_TARGETS} with the lowest R2 have charts."))
    for k in worst:
        shown += _charts(results.names[k] if len(rows) > 1 else "", predictions[:, k], targets[:, k])
        shown.append(_largest(results, k, predictions[:, k], targets[:, k]))
    return [*shown, *gallery]


def _scores(predictions: Array, targets: Array) -> tuple[float | None, ...]:
    """Return R2 (None for constant targets), MAE, RMSE, bias, and the 50th, 90th and 100th percentile of the error."""
    residuals = predictions - targets
    sizes, squares = np.abs(residuals), np.square(residuals)
    spread = np.square(targets - targets.mean()).sum()
    r2 = float(1 - squares.sum() / spread) if spread > 0 else None
    return (r2, *map(float, (sizes.mean(), np.sqrt(squares.mean()), residuals.mean())), *_percentiles(sizes))


def _percentiles(sizes: Array) -> list[float]:
    """Return the median, the 90th percentile and the maximum."""
    found: list[float] = np.percentile(sizes, (50, 90, 100)).tolist()
    return found


def _charts(name: str, predictions: Array, targets: Array) -> list[Shown]:
    """Return prediction against truth, residuals against prediction, and the histogram of residuals of a target."""
    of = f" of {name}" if name else ""
    residuals, note, num_samples = predictions - targets, "", len(targets)
    rows = np.arange(num_samples)
    if num_samples > _MOST_POINTS:
        rows = np.sort(np.random.default_rng(0).choice(num_samples, _MOST_POINTS, replace=False))
        note = f"A random choice of {_MOST_POINTS:,} of {num_samples:,} samples."
    counts, edges = np.histogram(residuals, _NUM_BARS)
    series = {"samples": counts.tolist()}
    return [
        Chart(
            f"Prediction{of} against truth", "points", targets[rows].tolist(),
            {"prediction": predictions[rows].tolist()}, "true value", "prediction",
            diagonal=True, note=f"On the diagonal, the prediction is exact. {note}".strip(),
        ),
        Chart(
            f"Residuals{of} against prediction", "points", predictions[rows].tolist(),
            {"residual": residuals[rows].tolist()}, "prediction", "residual",
            note=f"A slope, a bend or a widening is what the network has not learned. {note}".strip(),
        ),
        Chart(
            f"Histogram of residuals{of}", "bars", ((edges[1:] + edges[:-1]) / 2).tolist(), series, "residual",
            "samples", marks={"no error": 0.0} if edges[0] <= 0 <= edges[-1] else {},
        ),
    ]  # fmt: skip


def _largest(results: SampleResults, k: int, predictions: Array, targets: Array) -> Table:
    """Return the samples with the largest errors of a target."""
    residuals = predictions - targets
    rows = np.argsort(-np.abs(residuals), kind="stable")[:_NUM_LARGEST].tolist()
    columns, cells = ["sample", "true value", "prediction", "residual"], []
    for name, row in zip(sample_names(results, rows), rows, strict=True):
        text = [results.texts.get(int(results.indices[row]))] if results.texts else []
        cells.append((name, *(float(v[row]) for v in (targets, predictions, residuals)), *text))
    of = f" of {results.names[k]}" if len(results.names) > 1 else ""
    return Table(f"Largest errors{of}", [*columns, CONTENTS] if results.texts else columns, cells)


def _caption(results: SampleResults, row: int) -> str:
    """Return the true and the predicted values of a sample."""
    pairs = zip(results.names, results.targets[row].tolist(), results.predictions[row].tolist(), strict=True)
    texts = [(name, f"{true:.6g}, predicted {said:.6g}") for name, true, said in pairs]
    if len(texts) == 1:
        return texts[0][1]
    more = [f"{len(texts) - _MOST_TARGETS} more"] if len(texts) > _MOST_TARGETS else []
    return "; ".join([*(f"{name} {text}" for name, text in texts[:_MOST_TARGETS]), *more])
