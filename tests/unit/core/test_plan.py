"""When a training continues, is validated, and is done."""

from __future__ import annotations

import pytest

from nnrun.core.plan import Plan
from nnrun.core.progress import Best, Progress

PLAN = Plan(epochs=2, total_steps=10, validate_every_steps=4)


@pytest.mark.parametrize(
    ("progress", "goes_on", "is_due", "is_done"),
    [
        (Progress(0, 0, 0), True, False, False),
        (Progress(0, 3, 3), True, False, False),
        (Progress(0, 4, 4), True, True, False),
        (Progress(0, 4, 4, validated_step=4), True, False, False),
        (Progress(0, 5, 5), False, False, False),
        # The fresh epoch is not validated before its first step, whatever the number of the step.
        (Progress(1, 0, 4), True, False, False),
        (Progress(1, 3, 8, validated_step=5), True, True, False),
        # A reason to stop ends the epoch, which must still be closed.
        (Progress(1, 3, 8, validated_step=8, stop_reason="enough"), False, False, False),
        (Progress(2, 0, 8, stop_reason="enough"), True, False, True),
        (Progress(1, 5, 10), False, False, False),
        (Progress(1, 0, 10), False, False, True),
        (Progress(2, 0, 10), False, False, True),
    ],
)
def test_where_a_training_stands_says_what_comes_next(
    progress: Progress, goes_on: bool, is_due: bool, is_done: bool
) -> None:
    """Five batches per epoch; `goes_on` is not called on a training that is done."""
    if not is_done:
        assert PLAN.goes_on(progress, 5) is goes_on
    assert PLAN.is_validation_due(progress) is is_due
    assert PLAN.is_done(progress) is is_done
    assert not Plan(2, 10).is_validation_due(progress)


def test_a_progress_says_in_which_epoch_it_is_and_whether_that_goes_on() -> None:
    assert (Progress(1, 3, 8).epoch_number, Progress(1, 3, 8).is_within_epoch) == (2, True)
    assert (Progress(2, 0, 10).epoch_number, Progress(2, 0, 10).is_within_epoch) == (2, False)
    assert not Progress(1, 3, 8, stop_reason="enough").is_within_epoch
    assert Progress(1, 3, 8, best=Best(0.5, 2, 8)).is_best
    assert not Progress(1, 3, 9, best=Best(0.5, 2, 8)).is_best and not Progress(1, 3, 8).is_best


def test_a_progress_of_a_version_that_validated_at_epochs_alone_is_read() -> None:
    saved = {"epoch": 1, "batch": 2, "step": 7, "num_rows": 3, "logged_step": 6, "best": None, "stop_reason": None}
    assert Progress.from_plain(saved).validated_step == 0
