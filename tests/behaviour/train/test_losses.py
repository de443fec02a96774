"""Losses in whole runs: class weights from the training part, the same wherever the network is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import nnrun
from nnrun.assembly.data.opened import open_data
from nnrun.assembly.training import lists_by_class
from nnrun.base.targets import Targets
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_run
from nnrun.cli import compose
from nnrun.components.data.digits import Digits
from nnrun.config.schema import RunSettings, from_mapping
from support.command_line import SHORT, Row, run_here, run_rows

BALANCED = (*SHORT, "data.limit=333", "model=mlp", "model.dropout=0", "loss.weight=balanced")
# Losses, and what must be said of them.
WRONG: dict[str, Row] = {
    "weight a number": Row(["loss.weight=3"], 2, ["loss.weight is 3; allowed: null, balanced, or a list with a"]),
    "weight misspelt": Row(["loss.weight=balance"], 2, ["loss.weight is 'balance'; allowed: null, balanced"]),
    "weight negative": Row(["loss.weight=[1,-1]"], 2, ["loss.weight is [1, -1]; allowed"]),
    "weight all 0": Row(["loss.weight=[0,0]"], 2, ["loss.weight is [0, 0]; allowed"]),
    "weight nan": Row(["loss.weight=[1,nan]"], 2, ["loss.weight is [1, nan]; allowed"]),
    "gamma negative": Row(["loss=focal", "loss.gamma=-1"], 2, ["loss.gamma is -1; allowed: a finite number from 0 up"]),
    "alpha a number": Row(["loss=focal", "loss.alpha=0.25"], 2, ["loss.alpha is 0.25; allowed: null, balanced"]),
    "gamma of another loss": Row(["loss.gamma=2"], 2, ["loss.gamma is not a setting"]),
    "idle counts": Row(["loss.class_counts=[1,2]"], 2, ["loss.class_counts has an effect only with"]),
    "too few counts": Row(
        [*SHORT, "loss.weight=balanced", "loss.class_counts=[1,2]"],
        2,
        ["loss.class_counts is [1, 2]; allowed: null, or a count for each of the 10 classes"],
    ),
    "too few weights": Row(
        [*SHORT, "model=mlp", "loss.weight=[1,2]"], 2, ["loss.weight is [1, 2]; allowed: one weight for each of the 10"]
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_rows(WRONG, tmp_path_factory.mktemp("losses"))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_explained(name: str, said: dict) -> None:
    assert said[name].code == WRONG[name].code, said[name].err
    assert all(text in said[name].err for text in WRONG[name].says), said[name].err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("balanced")
    outcome = run_here([*BALANCED, "hydra.run.dir=run"], folder)
    assert (outcome.code, outcome.err) == (0, "")
    return folder / "run"


def test_balanced_counts_the_training_part_and_weighs_the_test_alike(run: Path) -> None:
    """The test's loss is the sum of w * cross-entropy over its samples, divided by their number.

    Negative control: without the weights it is another.
    """
    data = open_data(from_mapping(RunSettings, compose(BALANCED).resolved()).data, checks_batch=True)
    counts = torch.bincount(data.train.targets, minlength=10)
    assert read_run(locate(run, "best")).config["loss"]["class_counts"] == counts.tolist()
    assert len(set(counts.tolist())) > 1, "equal counts would show nothing"
    network = nnrun.load(run)
    with torch.no_grad():
        logits = network(data.preprocessing(data.test.inputs))
    weights = counts.sum() / (10 * counts)
    losses = functional.cross_entropy(logits, data.test.targets, weights, reduction="none")
    loss = json.loads((run / "summary.json").read_text())["metrics"]["test/loss"]
    assert loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert loss != pytest.approx(functional.cross_entropy(logits, data.test.targets).item(), rel=1e-5)


def test_a_checkpoint_keeps_its_weights_on_other_data(run: Path) -> None:
    """Beside more training samples, whose counts differ, the weights are the run's. A resume takes them too."""
    words = [f"ckpt={run}", "data.limit=null", "hydra.run.dir=again"]
    outcome = run_here(words, run.parent)
    assert (outcome.code, outcome.err) == (0, "")
    test = Digits().load().test
    counts = torch.tensor(read_run(locate(run, "best")).config["loss"]["class_counts"])
    network = nnrun.load(run)
    with torch.no_grad():
        logits = network(network.preprocessing(test.inputs))
    losses = functional.cross_entropy(logits, test.targets, counts.sum() / (10 * counts), reduction="none")
    loss = json.loads((run.parent / "again" / "summary.json").read_text())["metrics"]["test/loss"]
    assert loss == pytest.approx(losses.mean().item(), rel=1e-5)
    outcome = run_here([f"resume={run}", "trainer.epochs=3"], run.parent)
    assert (outcome.code, outcome.err) == (0, "")


def test_focal_loss_learns(tmp_path: Path) -> None:
    words = ["model=mlp", "loss=focal", "loss.alpha=balanced", "trainer.epochs=3", "data.limit=600", "export=none"]
    outcome = run_here([*words, "trainer.progress=false", "hydra.run.dir=run"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    metrics = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    assert metrics["test/accuracy"] > 0.6


def test_a_list_by_class_is_said_with_the_classes() -> None:
    """Negative control: numbers that are no list by class, and counts that nnrun itself fills in, are not."""
    loss = {"weight": [1, 2.5], "class_counts": [3, 4], "gamma": 2.0, "other": [1, 2, 3]}
    assert lists_by_class(loss, Targets.classes(["2", "10"])) == ["loss.weight by class: 1 for 2, 2.5 for 10"]
    many = lists_by_class({"alpha": [0.5] * 30}, Targets.classes(list(map(str, range(30)))))
    assert many[0].endswith("0.5 for 19, ...")
