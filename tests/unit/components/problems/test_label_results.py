"""What several labels show of their samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Gallery, Table
from nnrun.base.targets import Targets
from nnrun.components.problems.multilabel import Multilabel

NAMES = ("cat", "dog", "never")


def make_results() -> SampleResults:
    draws = np.random.default_rng(0)
    targets = (draws.random((150, 3)) < [0.5, 0.3, 0]).astype(np.uint8)
    probabilities = 1 / (1 + np.exp(-(2.0 * targets - 1 + draws.normal(size=(150, 3)))))
    predicted = (probabilities > 0.4).astype(np.uint8)
    losses = -np.log(np.where(targets == 1, probabilities, 1 - probabilities)).mean(1)
    return SampleResults(
        kind="labels",
        names=NAMES,
        num_samples=150,
        indices=np.arange(150),
        targets=targets,
        predictions=probabilities.astype(np.float16),
        losses=losses.astype(np.float32),
        are_right=(predicted == targets).all(1),
        predicted_labels=predicted,
    )


def test_curves_calibration_confused_labels_and_the_costliest_mistakes_are_shown():
    results = make_results()
    shown = Multilabel(Targets.labels(NAMES)).show_samples(results)
    curves, _, facts, of_each, reliability, _, instead, together, gallery = shown
    assert isinstance(curves, Chart)
    areas = [average_precision_score(results.targets[:, k], results.predictions[:, k].astype(float)) for k in range(2)]
    mean = f"macro average (AP {np.mean(areas):.4f})"
    assert [*curves.series] == [mean, *(f"{name} (AP {area:.4f})" for name, area in zip(NAMES, areas, strict=False))]
    assert isinstance(facts, Table)
    assert dict(facts.rows)["mean probability"] == pytest.approx(results.predictions.astype(float).mean(), abs=1e-6)
    assert isinstance(of_each, Table)
    assert {row[0]: row[1] for row in of_each.rows} == dict(zip(NAMES, results.targets.sum(0).tolist(), strict=True))
    assert isinstance(reliability, Chart)
    assert reliability.diagonal
    assert isinstance(instead, Table)
    true, predicted = results.targets == 1, results.predicted_labels == 1
    missed = true[:, 1] & ~predicted[:, 1]
    count = int((missed & ~true[:, 0] & predicted[:, 0]).sum())
    assert next(row for row in instead.rows if row[:2] == ("dog", "cat")) == ("dog", "cat", count, int(missed.sum()))
    assert isinstance(together, Chart)
    assert together.series["never"] == [None, None, None]
    assert together.series["cat"] == pytest.approx([1, true[true[:, 0], 1].mean(), 0], abs=1e-6)
    assert isinstance(gallery, Gallery)
    row = next(iter(gallery.captions))
    k = int(np.flatnonzero(true[row] != predicted[row])[0])
    words = "missed" if true[row, k] else "wrongly predicted"
    assert f"{words} {NAMES[k]} ({results.predictions[row, k].astype(float):.3f})" in gallery.captions[row]


def test_what_was_predicted_counts_and_not_the_thresholds_of_another_network():
    """Files of earlier versions do not have it: there, the thresholds count."""
    results, problem = make_results(), Multilabel(Targets.labels(NAMES))
    truth = f1_score(results.targets, results.predicted_labels, average="macro", zero_division=np.nan)
    found = problem.interval(results)
    assert found is not None
    assert found[0] < truth < found[1]
    older = replace(results, predicted_labels=None)
    assert problem.interval(older) != found
    problem.load_state_dict({"thresholds": [0.4] * 3})
    assert problem.interval(older) == found
    assert problem.interval(replace(results, num_samples=151)) is None
    assert torch.equal(problem.decided(torch.tensor([[0.4, 0.39, 1.0]])), torch.tensor([[True, False, True]]))
