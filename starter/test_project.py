"""Run with: pytest. Two training steps check that data, network, loss, checkpoints and evaluation work together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nnrun
from mynet import MyNet
from stripes import Stripes


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the folder with conf/ and the modules."""
    monkeypatch.chdir(Path(__file__).parent)


def test_the_network_gives_a_score_for_each_class() -> None:
    assert MyNet(in_shape=(1, 16, 16), num_outputs=3, width=4)(torch.zeros(5, 1, 16, 16)).shape == (5, 3)


def test_the_same_number_gives_the_same_picture() -> None:
    pictures = [Stripes(train, size=16)[7][0].tolist() for train in (True, True, False)]
    assert pictures[0] == pictures[1] != pictures[2]


def test_two_steps_train(tmp_path: Path) -> None:
    run = nnrun.run(["experiment=first", "trainer.max_steps=2", "export=none", f"hydra.run.dir={tmp_path / 'run'}"])
    assert run.train["steps"] == 2
    assert 0 <= run.metrics["test/accuracy"] <= 1
