"""What a test sample is, and what a run predicts for it, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrun.base.sample_results import SampleResults


def target_text(results: SampleResults, place: int) -> str:
    """Return what a sample is, in words."""
    target = results.targets[place]
    if results.kind == "classes":
        return _class(results, int(target))
    if results.kind == "labels":
        return _labels(results, target > 0)
    return _numbers(target)


def prediction_text(results: SampleResults, place: int) -> str:
    """Return what a run predicts for a sample, in words, of a class with its probability."""
    row = results.predictions[place].astype(np.float32)
    if results.kind == "labels":
        return _labels(results, row >= 0.5 if results.predicted_labels is None else results.predicted_labels[place])
    if results.kind == "values":
        return _numbers(row)
    if results.predicted is not None:
        number = int(results.predicted[place])
    else:
        number = int(row.argmax() if results.columns is None else results.columns[place][row.argmax()])
    return f"{_class(results, number)} ({float(row.max()):.2f})"


def _class(results: SampleResults, number: int) -> str:
    return str(results.names[number]) if 0 <= number < len(results.names) else str(number)


def _labels(results: SampleResults, are_set: Any) -> str:
    return ", ".join(str(name) for name, is_set in zip(results.names, are_set, strict=False) if is_set) or "none"


def _numbers(values: Any) -> str:
    return ", ".join(f"{float(value):.5g}" for value in np.atleast_1d(values)[:8])
