"""The paired tests against scipy's, the intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nnrun.tasks.comparison.statistics import holm, mcnemar, paired_values, signed_ranks


@pytest.mark.parametrize(("first", "second"), [(25, 2), (3, 3), (0, 1), (0, 0), (7, 12), (180, 141), (2000, 1900)])
def test_mcnemars_p_value_is_that_of_the_exact_binomial_test(first: int, second: int) -> None:
    tested = mcnemar(first, second, first + second + 100)
    expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert tested.p == pytest.approx(expected, rel=1e-9)
    assert tested.difference == (first - second) / (first + second + 100)
    assert tested.low <= tested.difference <= tested.high
    # The other way round, only the signs turn.
    other = mcnemar(second, first, first + second + 100)
    assert (other.p, other.low, other.high) == (tested.p, pytest.approx(-tested.high), pytest.approx(-tested.low))


def test_the_interval_of_a_difference_holds_it_as_often_as_it_says() -> None:
    draw, cells, number = np.random.default_rng(0), (0.7, 0.12, 0.06, 0.12), 200
    counts = draw.multinomial(number, cells, size=1000)
    tested = [mcnemar(int(row[1]), int(row[2]), number) for row in counts]
    share = np.mean([one.low <= cells[1] - cells[2] <= one.high for one in tested])
    assert 0.93 < share < 0.98
    # The negative control: intervals of a fifth of the width do not.
    narrow = [abs(one.difference - (cells[1] - cells[2])) < (one.high - one.low) / 10 for one in tested]
    assert np.mean(narrow) < 0.5


def test_with_the_samples_needed_the_difference_is_found_four_times_in_five() -> None:
    draw = np.random.default_rng(1)
    needed = mcnemar(24, 12, 200).needed
    assert needed is not None
    cells = draw.multinomial(needed, (0.12, 0.06, 0.82), size=1000)
    found = np.mean([mcnemar(int(row[0]), int(row[1]), needed).p < 0.05 for row in cells])
    assert 0.74 < found < 0.86  # the exact test is a little cautious
    assert mcnemar(5, 5, 100).needed is None


@pytest.mark.parametrize("number", [6, 30, 50, 51, 400])
def test_the_signed_rank_test_is_scipys(number: int) -> None:
    differences = np.random.default_rng(number).normal(0.2, 1, number)
    assert signed_ranks(differences) == pytest.approx(
        stats.wilcoxon(differences, method="exact" if number <= 50 else "approx").pvalue, rel=1e-9
    )


def test_the_signed_rank_test_is_scipys_with_ties_and_zeros() -> None:
    differences = np.random.default_rng(3).integers(-4, 6, 200).astype(float)
    assert (differences == 0).any()
    assert signed_ranks(differences) == pytest.approx(
        stats.wilcoxon(differences, zero_method="wilcox", method="approx").pvalue, rel=1e-9
    )
    assert signed_ranks(np.zeros(5)) == 1.0


def test_the_bootstrap_of_a_mean_is_that_of_the_normal_distribution_and_the_same_each_time() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 500)
    tested = paired_values(differences)
    half = 1.96 * differences.std() / np.sqrt(500)
    assert (tested.low, tested.high) == pytest.approx((tested.difference - half, tested.difference + half), abs=0.01)
    assert tested == paired_values(differences)


def test_holms_correction_keeps_the_order() -> None:
    # The example of Holm's method: 0.01 * 4, 0.02 * 3 (as 0.03 * 2), and 0.04 no less than those.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
