"""Confidence intervals: against exact values, and how often they contain the truth in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from nnrun.runs.intervals import bootstrap, of_class_f1, of_label_f1, of_r2, wilson


def test_wilson_is_the_published_interval():
    """Newcombe 1998, table I (method 3, without correction); at the ends it stays within 0 and 1."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (right, samples), interval in published.items():
        assert wilson(right, samples) == pytest.approx(interval, abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


@pytest.mark.parametrize(("share", "samples"), [(0.97, 360), (0.9, 50), (0.5, 2000)])
def test_wilson_contains_the_share_in_95_of_100_tests(share, samples):
    """Negative control: an interval of half the width does not."""
    found = np.random.default_rng(0).binomial(samples, share, 2000)
    bounds = np.array([wilson(right, samples) for right in found])
    assert ((bounds[:, 0] <= share) & (share <= bounds[:, 1])).mean() == pytest.approx(0.95, abs=0.03)
    middle, quarter = bounds.mean(1), (bounds[:, 1] - bounds[:, 0]) / 4
    assert (np.abs(share - middle) <= quarter).mean() < 0.8


@pytest.mark.parametrize(("samples", "tests"), [(150, 200), (3000, 40)])
def test_the_interval_of_r2_contains_the_truth_in_95_of_100_tests(samples, tests):
    """Of 3,000 samples groups are drawn. R2 is 1 - 0.25 / 1."""
    draws, hits, widths = np.random.default_rng(0), 0, []
    for _ in range(tests):
        targets = draws.normal(size=(samples, 1))
        low, high = of_r2(targets + 0.5 * draws.normal(size=(samples, 1)), targets) or (0, 0)
        hits, widths = hits + (low <= 0.75 <= high), [*widths, high - low]
    assert 0.88 <= hits / tests <= 1
    # R2's deviation by the delta method: half of the interval's width is 1.96 of it.
    assert np.mean(widths) / 2 == pytest.approx(1.96 * 0.25 * np.sqrt(4 / samples), rel=0.1)


def test_the_interval_of_f1_contains_the_truth_in_95_of_100_tests():
    draws = np.random.default_rng(0)

    def draw(samples: int) -> tuple[np.ndarray, np.ndarray]:
        targets = draws.random((samples, 3)) < [0.5, 0.3, 0.2]
        return targets ^ (draws.random((samples, 3)) < 0.1), targets

    truth = f1_score(*draw(1_000_000)[::-1], average="macro")
    bounds = [of_label_f1(*(values.astype(np.uint8) for values in draw(200))) or (0, 0) for _ in range(150)]
    assert 0.89 <= np.mean([low <= truth <= high for low, high in bounds]) <= 0.99


def test_the_interval_of_classes_is_that_of_drawing_samples_one_by_one():
    """Also with 3,000 samples in 2,000 groups; the plain bootstrap draws samples and asks scikit-learn."""
    draws = np.random.default_rng(0)
    targets = draws.integers(4, size=3000)
    predicted = np.where(draws.random(3000) < 0.2, draws.integers(4, size=3000), targets).astype(np.int32)
    rows = draws.integers(3000, size=(300, 3000))
    plain = np.percentile([f1_score(targets[row], predicted[row], average="macro") for row in rows], (2.5, 97.5))
    assert of_class_f1(predicted, targets, 4) == pytest.approx(plain, abs=0.003)
    assert of_class_f1(predicted, targets, 4) == of_class_f1(predicted, targets, 4), "the same in each call"


def test_values_far_from_0_lose_no_digits():
    draws = np.random.default_rng(0)
    targets = draws.normal(size=(500, 2))
    predicted = targets + [0.1, 0.9] * draws.normal(size=(500, 2))
    near, far = (of_r2(predicted * scale + shift, targets * scale + shift) for scale, shift in ((1, 0), (10, 1e9)))
    assert near == pytest.approx(far, abs=1e-4)
    assert near is not None
    assert near[0] < r2_score(targets, predicted) < near[1]


def test_where_there_is_nothing_to_draw_from_there_is_no_interval():
    assert bootstrap(np.ones((1, 2)), lambda sums: sums[:, 0]) is None
    assert of_r2(np.ones((1, 1)), np.ones((1, 1))) is None
    assert of_r2(np.ones((5, 1)), np.ones((5, 1))) is None, "constant targets have no R2"
    assert of_r2(np.full((5, 1), np.nan), np.arange(5.0)[:, None]) is None
    assert of_class_f1(np.zeros(1, int), np.zeros(1, int), 2) is None
