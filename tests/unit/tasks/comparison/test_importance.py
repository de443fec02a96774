"""The share of each setting in the differences between jobs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from nnrun.tasks.comparison.importance import importances

pytestmark = pytest.mark.extras


def jobs(number: int = 60) -> list[tuple[dict[str, Any], float]]:
    """The value depends on the model and, over four decades, on lr; a little on dropout, never on the seed."""
    draws, found = Random(1), []
    for seed in range(number):
        lr, dropout, model = 10 ** draws.uniform(-5, -1), draws.uniform(0, 0.5), draws.choice(["mlp", "cnn"])
        settings: dict[str, Any] = {"optimizer.lr": lr, "model.dropout": dropout, "model": model, "seed": seed}
        if model == "cnn":
            settings["model.width"] = draws.choice([1, 2])
        value = (abs(__import__("math").log10(lr) + 3)) + 0.8 * (model == "mlp") + 0.1 * dropout
        found.append(({**settings, "trainer.epochs": 5}, value))
    return found


def test_settings_are_ranked_by_their_share() -> None:
    shares = importances(jobs())
    assert list(shares)[:2] == ["optimizer.lr", "model"]
    assert shares["optimizer.lr"] > 0.4 > shares["model"] > 0.1 > shares["seed"]
    assert "trainer.epochs" not in shares
    assert 0.8 < sum(shares.values()) <= 1.001
    assert importances(jobs()) == shares


def test_a_value_that_depends_on_something_else_changes_the_ranking() -> None:
    """Negative control."""
    by_width = [(settings, float(settings.get("model.width") == 2)) for settings, _ in jobs()]
    assert next(iter(importances(by_width))) == "model.width"


def test_where_nothing_can_be_said_nothing_is() -> None:
    assert importances([]) == {}
    assert importances(jobs(9)) == {}
    assert importances([(settings, 1.0) for settings, _ in jobs()]) == {}
    assert importances([({"seed": 1}, float(value)) for value in range(12)]) == {}
    assert importances([*jobs(), ({"optimizer.lr": 9}, float("nan"))]) == importances(jobs())
