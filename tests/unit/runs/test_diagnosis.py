"""Diagnoses from rows of metrics: each fault is named, and the good trainings beside it are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from nnrun.runs.diagnosis import Known, learning, stages_of

TEN = Known("accuracy", baseline=0.1, num_valid=1000, chance_loss=math.log(10))


def rows(
    table: Sequence[tuple[float, float, float, float]], lrs: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """The rows of a training, from its losses and accuracies in training and validation at each validation."""
    found: list[dict[str, Any]] = []
    for index, (loss, score, valid_loss, valid_score) in enumerate(table):
        step, lr = 100 * (index + 1), lrs[index] if lrs else 0.1
        train = {"split": "train", "epoch": index + 1, "accuracy": score, "lr": lr, "grad_norm": 1.0}
        found.append({**train, "step": step - 50, "loss": 2 * loss - 0.5 * loss})
        found.append({**train, "step": step, "loss": 0.5 * loss})
        found.append({"split": "valid", "step": step, "epoch": index + 1, "loss": valid_loss, "accuracy": valid_score})
    return found


def keys(table: Sequence[tuple[float, float, float, float]], known: Known = TEN, **more: Any) -> list[str]:
    ended, lrs = more.pop("ended", False), more.pop("lrs", None)
    return [each.key for each in learning(stages_of(rows(table, lrs), known.headline), known, ended=ended, **more)]


GOOD = [(1.2, 0.6, 0.8, 0.7), (0.6, 0.8, 0.6, 0.8), (0.4, 0.9, 0.5, 0.85), (0.3, 0.9, 0.5, 0.86)]
STUCK = [(2.31, 0.1, 2.3, 0.11), (2.3, 0.11, 2.3, 0.1), (2.3, 0.1, 2.3, 0.09)]
BY_HEART = [(2.3, 0.12, 2.4, 0.1), (1.5, 0.5, 3.1, 0.11), (0.4, 0.9, 5.2, 0.1)]


def test_a_stage_is_the_mean_over_its_updates_up_to_a_validation() -> None:
    first, second = stages_of(rows(GOOD[:2]), "accuracy")
    assert (first.step, first.train_loss, first.train_score) == (100, pytest.approx(1.2), pytest.approx(0.6))
    assert (second.valid_loss, second.valid_score, second.lr) == (0.6, 0.8, 0.1)
    # A row without a loss, as after updates that were all skipped, makes no stage.
    broken = rows(GOOD[:2])
    broken[0]["loss"] = None
    assert len(stages_of(broken, "accuracy")) == 1


@pytest.mark.parametrize(
    ("table", "more", "expected"),
    [
        (GOOD, {"moved": 0.3}, []),
        # Rising and staying there; one bad epoch is not enough, nor noise around a perfect fit.
        ([*GOOD[:2], (3.1, 0.3, 4.0, 0.3), (3.5, 0.3, 4.0, 0.3)], {}, ["lr_high"]),
        ([*GOOD[:3], (3.1, 0.3, 4.0, 0.3)], {}, []),
        ([(0.5, 0.9, 0.3, 0.95), (1e-6, 1.0, 0.3, 0.95), (1e-5, 1.0, 0.3, 0.95), (2e-5, 1.0, 0.3, 0.95)], {}, []),
        # Far above what guessing costs.
        ([(95.0, 0.1, 40.0, 0.1), (9.0, 0.1, 7.0, 0.1), (8.0, 0.1, 6.0, 0.1)], {}, ["lr_high"]),
        ([(95.0, 0.1, 1.0, 0.5), (1.9, 0.4, 1.7, 0.5), (1.5, 0.5, 1.6, 0.5)], {}, []),
        # Hardly any movement, and flat; fine-tuning, or a warmup, looks alike.
        (STUCK, {"moved": 0.002}, ["lr_low"]),
        (STUCK, {"moved": 0.002, "lrs": [1e-5, 2e-5, 3e-5]}, []),
        ([(0.3, 0.9, 0.3, 0.9)] * 3, {"moved": 0.002}, []),
        # Nothing is learned: said once the training had time, or at its end.
        (STUCK, {"moved": 0.3}, []),
        (STUCK, {"moved": 0.3, "ended": True}, ["learns_nothing"]),
        ([*STUCK, *STUCK], {"moved": 0.3}, ["learns_nothing"]),
        (STUCK, {"moved": 8.0, "ended": True}, ["lr_high"]),
        ([*STUCK[:2], (2.2, 0.2, 2.2, 0.2)], {"moved": 0.3, "ended": True}, []),
        (BY_HEART, {}, ["memorizes"]),
        ([*BY_HEART[:2], (0.4, 0.9, 5.2, 0.3)], {}, []),
        (BY_HEART[:2], {"ended": True}, []),
    ],
)
def test_how_a_training_learns_is_judged_by_its_rows(table, more, expected) -> None:
    assert keys(table, **more) == expected


def test_what_cannot_be_told_is_not_said() -> None:
    """A guess that is nearly always right, few validation samples, an unknown guess. Control: otherwise it is said."""
    for known in (Known("accuracy", 0.95, 1000), Known("accuracy", 0.1, 20), Known("accuracy")):
        table = [(loss, 0.99, valid_loss, known.baseline or 0.1) for loss, _, valid_loss, _ in BY_HEART]
        assert keys(table, known) == []
    assert keys(BY_HEART, Known("accuracy", 0.1, 1000)) == ["memorizes"]
    assert keys(STUCK, Known("accuracy", 0.1, 1000, is_fresh=False), moved=0.002) == []
