"""Calibration: against torchmetrics, and against networks whose temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from nnrun.components.problems.calibration import (
    at_temperature,
    binned,
    fit_temperature,
    log_probabilities,
    reliability_chart,
    verdict,
)

NUM_SAMPLES, NUM_CLASSES = 20_000, 5


def network(factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of a network, in half precision, and targets; its scores are too large by `factor`."""
    draws = np.random.default_rng(0)
    scores = 2 * draws.normal(size=(NUM_SAMPLES, NUM_CLASSES))
    true = torch.tensor(scores).softmax(1).numpy()
    targets = (true.cumsum(1) > draws.random((NUM_SAMPLES, 1))).argmax(1)
    return torch.tensor(scores * factor).softmax(1).numpy().astype(np.float16), targets


@pytest.mark.parametrize(
    ("factor", "words"), [(0.5, "underconfident: by 0."), (1, "neither"), (2, "overconfident: by 0.")]
)
def test_the_known_temperature_is_found_and_mends_the_network(factor, words):
    probabilities, targets = network(factor)
    is_right = probabilities.argmax(1) == targets
    confidences = probabilities.max(1)
    scores = log_probabilities(probabilities)
    fitted = fit_temperature(scores, targets)
    assert fitted.value == pytest.approx(factor, rel=0.03)
    assert verdict(confidences, is_right).startswith(words)
    before, after = binned(confidences, is_right), binned(at_temperature(scores, factor), is_right)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities).float(), torch.tensor(targets), NUM_CLASSES, n_bins=15
    )
    assert before.ece == pytest.approx(float(expected), abs=1e-3)
    assert after.ece < 2 * after.by_chance
    assert (before.ece > 5 * before.by_chance) == (factor != 1)
    nll = torch.nn.functional.nll_loss
    log, true = torch.tensor(scores).double(), torch.tensor(targets)
    losses = [
        float(nll((log / value).log_softmax(1), true))
        for value in (1, fitted.value, fitted.value * 1.1, fitted.value / 1.1)
    ]
    assert losses[:2] == pytest.approx([fitted.loss_before, fitted.loss_after], abs=1e-5)
    assert losses[1] <= min(losses), "it is the smallest"


def test_the_error_by_chance_is_that_of_calibrated_networks():
    draws = np.random.default_rng(0)
    confidences = 1 - 0.3 * draws.random(300) ** 3
    errors = [binned(confidences, draws.random(300) < confidences).ece for _ in range(500)]
    assert binned(confidences, draws.random(300) < confidences).by_chance == pytest.approx(np.mean(errors), rel=0.15)


def test_a_bin_holds_its_upper_end_and_the_diagram_has_the_bins_with_samples():
    bins = binned(np.array([1 / 15, 1 / 15 + 1e-6, 1.0, 0.99, 0.0]), np.array([0, 1, 1, 0, 0]))
    assert bins.counts.tolist() == [2, 1, *[0] * 12, 2]
    chart = reliability_chart(bins, "share right")
    assert chart.diagonal
    assert chart.series["share right"] == [0, 1, 0.5]
    assert chart.x == pytest.approx([1 / 30, 1 / 15, 0.995], abs=1e-5)


def test_where_all_samples_are_right_no_temperature_is_the_best():
    scores = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)
    assert fit_temperature(scores, np.array([0, 1])).value is None
    assert fit_temperature(scores, np.array([1, 0])).value is None
    assert fit_temperature(np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])).value is None, "equal scores"
