"""How results are shown."""

from __future__ import annotations

import math

import pytest

from nnrun.base.shown import counted, fitting, metric_text


def test_one_thing_is_in_the_singular() -> None:
    assert [counted(number, "test sample") for number in (0, 1, 1234)] == [
        "0 test samples",
        "1 test sample",
        "1,234 test samples",
    ]
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.98765, "0.9877"),
        (-1.5, "-1.5000"),
        (0.001, "0.0010"),
        (0.00012345, "0.000123"),
        (3.2e-7, "3.2e-07"),
        (96910.62811, "96910.6281"),
        (123464.3283, "123464"),
        (24913691511.2147, "2.49137e+10"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_metric_of_any_size_can_be_read(value: float, text: str) -> None:
    """With four decimals, an error of 3.2e-7 would be 0.0000."""
    assert metric_text(value) == text


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, "epoch 1  step 2  loss 3  best"),
        (29, "epoch 1  step 2  loss 3  best"),
        (28, "epoch 1  loss 3  best"),
        (20, "epoch 1  best"),
        (3, "epoch 1"),
    ],
)
def test_what_matters_least_of_a_line_is_left_out_whole(width: int | None, expected: str) -> None:
    assert fitting([(0, "epoch 1"), (2, "step 2"), (1, "loss 3"), (0, "best")], width) == expected
