"""The 95 % interval of a run's main test metric, from its file of results."""

from __future__ import annotations

import zipfile
from typing import Any

from nnrun.base.errors import ArtifactError
from nnrun.base.sample_results import SampleResults
from nnrun.runs.intervals import of_class_f1, of_label_f1, of_r2, wilson
from nnrun.runs.samples import SAMPLES_NAME, array_in, read_samples
from nnrun.tasks.comparison.read_run import Run

# A fraction in a summary and one of the samples agree up to rounding.
_ROUNDING = 1e-6


def interval_of(run: Run) -> tuple[str, float, float] | None:
    """Return the test metric of a run that has a 95 % interval, with that; None where there is none.

    For a fraction of right samples it is Wilson's interval.
    """
    name = f"test/{run.headline}"
    value = run.metrics.get(name)
    if value is None or not 0 <= value <= 1:
        return None
    try:
        with zipfile.ZipFile(run.path / SAMPLES_NAME) as packed:
            number = int(_array(packed, "num_samples"))
            are_right = _array(packed, "are_right")
    except Exception:  # on an untrusted archive zipfile may fail in any way
        return None
    if number < 1 or are_right.ndim != 1 or len(are_right) > number:
        return None
    is_fraction = abs(value * number - round(value * number)) < _ROUNDING * number
    if len(are_right) == number:
        is_fraction = abs(float(are_right.mean()) - value) < _ROUNDING
    return (name, *wilson(round(value * number), number)) if is_fraction else None


def slow_interval_of(run: Run) -> tuple[str, float, float] | None:
    """Return the interval of a test metric that takes a bootstrap, as the problem itself computes it."""
    name = f"test/{run.headline}"
    if name not in run.metrics:
        return None
    try:
        results = read_samples(run.path)
        found = _bootstrapped(run.headline, results) if results.is_whole else None
    except (ArtifactError, ValueError, IndexError, TypeError):
        return None
    # A metric of the user's own may have the name of one of ours.
    is_ours = found is not None and found[0] <= run.metrics[name] <= found[1]
    return (name, *found) if found is not None and is_ours else None


def _bootstrapped(headline: str | None, results: SampleResults) -> tuple[float, float] | None:
    """Return the interval of a main metric, if it is one of ours."""
    if headline == "r2" and results.kind == "values":
        return of_r2(results.predictions, results.targets)
    if headline == "f1" and results.predicted is not None:
        return of_class_f1(results.predicted, results.targets, len(results.names))
    if headline == "f1_macro" and results.predicted_labels is not None:
        return of_label_f1(results.predicted_labels, results.targets)
    return None


def _array(packed: zipfile.ZipFile, name: str) -> Any:
    """Return an array of a file of results, without the others."""
    entry = packed.getinfo(f"{name}.npy")
    if entry.file_size > 2**28:
        raise ValueError("it is too large to be ours")
    return array_in(packed, entry)
