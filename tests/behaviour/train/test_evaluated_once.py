"""Nothing is measured twice in one command: neither the best weights on the validation part, nor the test part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nnrun
from nnrun.api import Callback, TrainState
from nnrun.components.models.mlp import MLP

WORDS = ["model=mlp", "trainer.epochs=3", "data.limit=200", "data.val_fraction=0.2", "trainer.progress=false"]


class Changes(Callback):
    """Change the weights after the validation of an epoch, as averaging weights or setting statistics anew does."""

    def on_epoch_end(self, state: TrainState) -> None:
        for weight in state.network.parameters():
            weight.data.mul_(3)


NUM_VALID, NUM_TEST = 37, 200


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """How many samples each call of a network in eval mode took."""
    sizes: list[int] = []
    own = MLP.forward

    def forward(self: MLP, inputs: Tensor) -> Tensor:
        if not self.training and not torch.compiler.is_compiling():
            sizes.append(len(inputs))
        return own(self, inputs)

    monkeypatch.setattr(MLP, "forward", forward)
    monkeypatch.chdir(tmp_path)
    yield sizes


@pytest.mark.parametrize("more", [[], ["trainer.ema_decay=0.9", "trainer.validate_every_steps=2"]], ids=["", "ema"])
def test_the_best_weights_are_validated_once(more: list[str], evaluated: list[int]) -> None:
    """Negative control: `ckpt=`, in which nothing is known, measures both parts, and finds the same to the bit."""
    trained = nnrun.run([*WORDS, "export=none", *more])
    rows = [row for row in (Path(trained.run) / "metrics.jsonl").read_text().splitlines() if '"valid"' in row]
    assert sum(evaluated) == len(rows) * NUM_VALID + NUM_TEST
    evaluated.clear()
    again = nnrun.run([f"ckpt={trained.run}"])
    assert sum(evaluated) == NUM_VALID + NUM_TEST
    assert (again.metrics, again.details) == (trained.metrics, trained.details)


def test_a_resumed_run_whose_best_weights_are_of_before_validates_them(evaluated: list[int]) -> None:
    """What an earlier process measured is not known to this one."""
    # From the second epoch on there is nothing left to learn with.
    schedule = ["scheduler=step", "scheduler.step_size=1", "scheduler.gamma=1e-30"]
    first = nnrun.run([*WORDS, "export=none", "trainer.epochs=2", *schedule])
    assert sum(evaluated) == 2 * NUM_VALID + NUM_TEST
    evaluated.clear()
    resumed = nnrun.run([f"resume={first.run}", "trainer.epochs=3"])
    assert resumed.best == {"epoch": 1, "step": 6}
    assert sum(evaluated) == NUM_VALID + NUM_VALID + NUM_TEST


def test_weights_that_a_callback_changes_before_they_are_saved_are_validated_as_saved(evaluated: list[int]) -> None:
    own = f"+callback.changes._target_={__name__}.Changes"
    trained = nnrun.run([*WORDS, "export=none", own])
    again = nnrun.run([f"ckpt={trained.run}"])
    assert (again.metrics, again.details) == (trained.metrics, trained.details)
