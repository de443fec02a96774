"""What a regression shows of its samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Gallery, Table, Text
from nnrun.base.targets import Targets
from nnrun.components.problems.regression import Regression


def make_results(num_targets: int = 1, num_samples: int = 1500) -> SampleResults:
    draws = np.random.default_rng(0)
    targets = draws.normal(size=(num_samples, num_targets)).astype(np.float32)
    predictions = (targets + 0.3 * draws.normal(size=targets.shape) + 0.1).astype(np.float32)
    return SampleResults(
        kind="values",
        names=tuple(f"value {number}" for number in range(num_targets)),
        num_samples=num_samples,
        indices=np.arange(num_samples),
        targets=targets,
        predictions=predictions,
        losses=np.square(targets - predictions).mean(1),
        are_right=(np.abs(targets - predictions) < 0.1).all(1),
    )


def test_errors_prediction_against_truth_and_residuals_are_shown():
    results = make_results()
    problem = Regression(Targets.values(results.names))
    errors, _, against, residuals, histogram, largest = problem.show_samples(results)
    truth, said = results.targets[:, 0].astype(float), results.predictions[:, 0].astype(float)
    difference = said - truth
    assert isinstance(errors, Table)
    (row,) = errors.rows
    wanted = [r2_score(truth, said), mean_absolute_error(truth, said), root_mean_squared_error(truth, said)]
    sizes = np.abs(difference)
    assert row[1:] == pytest.approx([*wanted, difference.mean(), *np.percentile(sizes, (50, 90, 100))])
    assert isinstance(against, Chart)
    assert against.diagonal
    assert len(against.x) == 1000
    assert "A random choice of 1,000 of 1,500 samples" in against.note
    pairs = set(zip(truth.tolist(), said.tolist(), strict=True))
    assert set(zip(against.x, against.series["prediction"], strict=True)) < pairs
    assert problem.show_samples(results)[2] == against, "the same choice each time"
    assert isinstance(residuals, Chart)
    assert residuals.series["residual"] == pytest.approx(np.subtract(against.series["prediction"], against.x))
    assert isinstance(histogram, Chart)
    assert (sum(histogram.series["samples"]), histogram.marks) == (1500, {"no error": 0.0})
    assert isinstance(largest, Table)
    worst = int(sizes.argmax())
    assert (len(largest.rows), largest.rows[0][0], largest.rows[0][3]) == (10, str(worst), difference[worst])
    found = problem.interval(results)
    assert found is not None
    assert found[0] < wanted[0] < found[1]


def test_of_many_targets_the_weakest_have_charts():
    results = make_results(6, 50)
    results.predictions[:, 4] = 0
    shown = Regression(Targets.values(results.names)).show_samples(results)
    charts = [part.title for part in shown if isinstance(part, Chart)]
    assert charts[:3] == [
        "Prediction of value 4 against truth",
        "Residuals of value 4 against prediction",
        "Histogram of residuals of value 4",
    ]
    assert len(charts) == 12
    assert Text("Charts", "Of 6 targets, the 4 with the lowest R2 have charts.") in shown


def test_pictures_and_paths_of_the_largest_errors_are_shown():
    results = make_results(num_samples=50)
    worst = int(results.losses.argmax())
    with_pictures = replace(results, paths=tuple(f"/d/{i}.png" for i in range(50)), pictures={worst: b"png"})
    *_, table, gallery = Regression(Targets.values(results.names)).show_samples(with_pictures)
    assert isinstance(table, Table)
    assert table.rows[0][0] == f"{worst}.png"
    assert isinstance(gallery, Gallery)
    assert gallery.pictures == {worst: b"png"}
    assert next(iter(gallery.captions.values())).startswith(f"{worst}.png: {results.targets[worst, 0]:.6g}, predicted ")


def test_what_cannot_be_computed_is_said():
    results = make_results(num_samples=50)
    problem = Regression(Targets.values(results.names))
    bad = replace(results, predictions=np.where(np.arange(50)[:, None] == 3, np.inf, results.predictions))
    (text,) = problem.show_samples(bad)
    assert text == Text("Errors and residuals", "Not shown: the predictions for 1 sample are not finite.")
    assert problem.interval(bad) is None
    part, gallery = problem.show_samples(replace(results, num_samples=51))
    assert isinstance(part, Text)
    assert isinstance(gallery, Gallery)
    assert problem.interval(replace(results, num_samples=51)) is None
    constant = replace(results, targets=np.ones_like(results.targets))
    errors = problem.show_samples(constant)[0]
    assert isinstance(errors, Table)
    assert errors.rows[0][1] is None
