"""ROC and precision-recall curves, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from nnrun.components.problems.curves import Curve, curve_of, odds, precision_recall_chart, roc_chart


def make_curve(name: str = "a", samples: int = 400, ties: int | None = None, seed: int = 0):
    draws = np.random.default_rng(seed)
    is_positive = draws.random(samples) < 0.3
    scores = draws.normal(size=samples) + is_positive
    if ties:
        scores = np.round(scores * ties) / ties
    curve = curve_of(name, scores, is_positive)
    assert curve is not None
    return curve, scores, is_positive


@pytest.mark.parametrize("ties", [None, 4, 1])
def test_curves_have_scikit_learns_values_at_each_point_of_the_grid(ties):
    curve, scores, is_positive = make_curve(ties=ties)
    assert curve.roc_auc == pytest.approx(roc_auc_score(is_positive, scores), abs=1e-12)
    assert curve.average_precision == pytest.approx(average_precision_score(is_positive, scores), abs=1e-12)
    chart = roc_chart([curve])
    false, true, _ = roc_curve(is_positive, scores, drop_intermediate=False)
    # Where the curve rises vertically, the highest value.
    for rate, value in zip(chart.x, *chart.series.values(), strict=True):
        is_at = np.isclose(false, rate, rtol=0, atol=1e-9)
        wanted = true[is_at].max() if is_at.any() else np.interp(rate, false, true)
        assert value == pytest.approx(wanted, abs=1e-9)
    chart = precision_recall_chart([curve])
    precision, recall, _ = precision_recall_curve(is_positive, scores)
    for found, value in zip(chart.x, *chart.series.values(), strict=True):
        reaches = np.flatnonzero(recall[:-1] >= found - 1e-9)
        assert value == pytest.approx(precision[reaches[-1]], abs=1e-9)
    assert (chart.x[0], chart.x[-1], len(chart.x)) == (0, 1, 96)
    assert (np.diff(chart.x) > 0).all()


def test_of_many_classes_the_mean_and_the_worst_are_drawn():
    curves = [make_curve(f"class {seed}", seed=seed)[0] for seed in range(8)]
    names = [*roc_chart(curves).series]
    worst = sorted(curves, key=lambda curve: curve.roc_auc)[:5]
    mean = np.mean([curve.roc_auc for curve in curves])
    assert names == [f"macro average (AUC {mean:.4f})", *(f"{c.name} (AUC {c.roc_auc:.4f})" for c in worst)]
    assert len(roc_chart(curves[:6]).series) == 7
    assert [*precision_recall_chart(curves[:1]).series] == [f"class 0 (AP {curves[0].average_precision:.4f})"]


def test_a_class_of_none_or_of_all_samples_has_no_curve():
    assert curve_of("a", np.arange(3.0), np.zeros(3, bool)) is None
    assert curve_of("a", np.arange(3.0), np.ones(3, bool)) is None
    assert isinstance(curve_of("a", np.arange(3.0), np.arange(3) > 1), Curve)


def test_probabilities_that_half_precision_rounds_to_1_keep_their_order():
    """Negative control: the probabilities themselves are equal."""
    scores = np.array([[12.0, 0.0, 1.0], [10.0, 0.0, 0.0], [15.0, 0.0, 0.0]])
    exact = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    kept = exact.astype(np.float16)
    assert len(np.unique(kept[:, 0])) == 1
    assert np.argsort(odds(kept)[:, 0]).tolist() == np.argsort(exact[:, 0]).tolist()
    assert odds(np.array([[1, 0], [0, 0]], np.float16)).tolist() == [[np.inf, 0], [0, 0]]
