"""Metrics of the user's own, and of torchmetrics by `_target_`: measured, watched in their own direction, resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

import nnrun
from nnrun.components.data.digits import Digits
from support.command_line import nnrun as nnrun_apart
from support.command_line import run_here, write_files
from support.pictures import labelled, valued
from support.small_runs import WORDS, assert_same_bits, resume, stop_at, summary

BRIER = """\
import torch
from torch.nn import functional

class Brier:
    higher_is_better = {"brier": False}

    def init(self, device):
        return {name: torch.zeros((), dtype=torch.float64, device=device) for name in ("squared", "samples")}

    def update(self, sums, outputs, losses, batch):
        truth = functional.one_hot(batch.targets, outputs.shape[1])
        sums["squared"] += ((outputs - truth).square().sum(1) * batch.weight).sum()
        sums["samples"] += batch.weight.sum()

    def compute(self, sums):
        return {"brier": float(sums["squared"] / sums["samples"])}

class Two(Brier):
    higher_is_better = {}

    def compute(self, sums):
        return {"low": 0.25, "high": 0.75}

class Odd(Brier):
    def __init__(self, gives):
        self.gives = gives

    def compute(self, sums):
        given = {"none": None, "a number": 0.5, "a text": {"odd": "x"}, "several": {"odd": torch.ones(2)}}
        return given.get(self.gives, {"value": 1})

class Few:
    pass
"""
FILES = {
    "brier.py": BRIER,
    "conf/metric/brier.yaml": "# @package metric.brier\n# Brier.\n_target_: brier.Brier\n",
    "conf/metric/two.yaml": "# @package metric.two\n# Two.\n_target_: brier.Two\n",
    "conf/metric/odd.yaml": "# @package metric.odd\n# Odd.\n_target_: brier.Odd\ngives: none\n",
    "conf/metric/two_odd.yaml": "# @package metric.two_odd\n# Two again.\n_target_: brier.Two\n",
    "conf/metric/two_odd_low.yaml": "# @package metric.two_odd_low\n# Brier again.\n_target_: brier.Odd\ngives: fine\n",
    "conf/metric/few.yaml": "# @package metric.few\n# Few.\n_target_: brier.Few\n",
    "conf/metric/loss.yaml": "# @package metric.loss\n# Loss.\n_target_: brier.Brier\n",
    "conf/metric/ece.yaml": (
        "# @package metric.ece\n# ECE.\n_target_: torchmetrics.classification.MulticlassCalibrationError\n"
        "num_classes: ${data.num_classes}\n"
    ),
    "conf/metric/kendall.yaml": (
        "# @package metric.kendall\n# Kendall.\n_target_: torchmetrics.regression.KendallRankCorrCoef\n"
    ),
    "conf/metric/mape.yaml": (
        "# @package metric.mape\n# MAPE.\n_target_: torchmetrics.regression.MeanAbsolutePercentageError\n"
    ),
    "conf/metric/hamming.yaml": (
        "# @package metric.hamming\n# Hamming.\n_target_: torchmetrics.classification.MultilabelHammingDistance\n"
        "num_labels: ${data.num_outputs}\n"
    ),
    "conf/metric/each.yaml": (
        "# @package metric.each\n# Each.\n_target_: torchmetrics.classification.MulticlassF1Score\n"
        "num_classes: ${data.num_classes}\naverage: null\n"
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own_metric")
    write_files(folder, FILES)
    for name, make in (("labelled", labelled), ("valued", valued)):
        x, y = make(120)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return folder


def rows(run: Path, key: str) -> list[float]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row[key] for row in found if row["split"] == "valid"]


def test_of_an_own_metric_of_which_less_is_better_the_least_is_the_best(place):
    """Also where its option does not say so. Negative control: told the other way, it is refused."""
    words = [*WORDS, "metric=brier", "early_stopping.monitor=valid/brier", "trainer.epochs=6"]
    outcome = run_here([*words, "hydra.run.dir=least"], place)
    assert outcome.code == 0, outcome.err
    values = rows(place / "least", "brier")
    assert summary(place / "least")["best"]["epoch"] == values.index(min(values)) + 1
    assert values.index(min(values)) != values.index(max(values))
    assert summary(place / "least")["metrics"]["valid/brier"] == pytest.approx(min(values), abs=1e-6)
    refused = run_here([*words, "early_stopping.mode=max"], place)
    assert refused.code == 2
    assert "early_stopping.mode=max would select the worst weights by valid/brier" in refused.err


def test_it_stops_a_training_early_and_a_resumed_one_to_the_same_bits(place):
    words = [*WORDS, "metric=brier", "early_stopping.monitor=valid/brier", "early_stopping.patience=1"]
    words += ["trainer.epochs=40", "optimizer.lr=0.02"]
    outcome = run_here([*words, "hydra.run.dir=early"], place)
    assert outcome.code == 0, outcome.err
    assert "valid/brier has not improved for 1 epoch" in outcome.out
    with stop_at(14):
        assert run_here([*words, "hydra.run.dir=stopped"], place).code == 143
    assert resume(place / "stopped", "trust=[brier]") == 0
    assert_same_bits(place / "stopped", place / "early")


def test_a_metric_of_torchmetrics_has_the_classes_of_the_data_and_no_padding(place):
    """The calibration error of the test, of 360 samples in batches of 16: the last is padded."""
    outcome = run_here([*WORDS, "metric=[ece,brier]", "early_stopping.monitor=valid/ece", "hydra.run.dir=ece"], place)
    assert outcome.code == 0, outcome.err
    assert run_here(["ckpt=ece", "metric=[ece,brier]", "data.limit=null", "hydra.run.dir=all"], place).code == 0
    network, test = nnrun.load(place / "ece"), Digits().load().test
    with torch.inference_mode():
        probabilities = network(network.preprocessing(test.inputs)).softmax(1)
    expected = multiclass_calibration_error(probabilities, test.targets, 10)
    metrics = summary(place / "all")["metrics"]
    assert metrics["test/ece"] == pytest.approx(expected.item(), rel=1e-4)
    squared = (probabilities - torch.nn.functional.one_hot(test.targets, 10)).square().sum(1)
    assert metrics["test/brier"] == pytest.approx(squared.mean().item(), rel=1e-4)


def test_a_checkpoint_with_a_metric_of_torchmetrics_needs_no_trust_and_one_s_own_does(place):
    words = [*WORDS, "trainer.epochs=1"]
    assert run_here([*words, "metric=ece", "hydra.run.dir=theirs"], place).code == 0
    outcome = run_here(["ckpt=theirs", "hydra.run.dir=theirs-e"], place)
    assert outcome.code == 0, outcome.err
    assert "test/ece" in summary(place / "theirs-e")["metrics"]
    assert run_here([*words, "metric=brier", "hydra.run.dir=own"], place).code == 0
    refused = run_here(["ckpt=own", "hydra.run.dir=own-r"], place)
    assert (refused.code, "trust=[brier]" in refused.err) == (4, True)
    for more in ("trust=[brier]", "metric=brier", "metric=none"):
        outcome = run_here(["ckpt=own", more], place)
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("data", "metric", "below"), [("labelled", "hamming", 0.5), ("valued", "mape", None), ("valued", "kendall", None)]
)
def test_metrics_of_labels_and_of_values_are_given_probabilities_and_values(place, data, metric, below):
    words = [word for word in WORDS if not word.startswith("data.limit")]
    words += ["data=arrays", f"data.root={data}.npz", "data.dataset.test_fraction=0.3", f"metric={metric}"]
    outcome = run_here([*words, f"hydra.run.dir={metric}"], place)
    if metric == "kendall":  # of two values it gives two numbers
        assert (outcome.code, "metric.kendall" in outcome.err) == (2, True)
        return
    assert outcome.code == 0, outcome.err
    value = summary(place / metric)["metrics"][f"test/{metric}"]
    assert 0 <= value < (below or 1), "of values standardized, and not in the data's units, it would be far more"


def test_several_values_have_names_of_their_own_and_their_way_must_be_told(place):
    outcome = run_here([*WORDS, "metric=two", "hydra.run.dir=two"], place)
    assert outcome.code == 0, outcome.err
    metrics = summary(place / "two")["metrics"]
    assert (metrics["test/two_low"], metrics["test/two_high"]) == (0.25, 0.75)
    words = [*WORDS, "metric=two", "early_stopping.monitor=valid/two_low"]
    refused = run_here(words, place)
    assert refused.code == 2
    assert "early_stopping.mode must be min or max: it is unknown whether a higher valid/two_low" in refused.err
    assert run_here([*words, "early_stopping.mode=min", "hydra.run.dir=told"], place).code == 0


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("few", "metric.few._target_=brier.Few is not allowed: it is not a Metric"),
        ("loss", "metric.loss has the name of one of the problem's metrics; rename its option"),
        ("each", "nnrun: metric.each returns 10 numbers; allowed: one"),
    ],
)
def test_what_is_no_metric_is_refused(place, metric, says):
    refused = run_here([*WORDS, f"metric={metric}"], place)
    assert refused.code == 2
    assert says in refused.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["metric=odd"], "metric.odd: compute returns None; allowed: a dict with a number for each name"),
        (["metric=odd", "metric.odd.gives=a number"], "metric.odd: compute returns 0.5; allowed: a dict with a number"),
        (["metric=odd", "metric.odd.gives=a text"], "metric.odd: compute returns {'odd': 'x'}; allowed: a dict with"),
        (["metric=odd", "metric.odd.gives=several"], "metric.odd: compute returns {'odd': tensor([1., 1.])}; allowed"),
        (
            ["metric=[two_odd,two_odd_low]"],
            "metric.two_odd_low returns two_odd_low, as another metric does; rename its option",
        ),
    ],
)
def test_what_a_metric_computes_must_be_numbers_each_by_a_name_of_its_own(place, words, says):
    refused = run_here([*WORDS, *words], place)
    assert refused.code == 2
    assert says in refused.err


def test_without_torchmetrics_its_extra_is_named_and_nothing_else_needs_it(place):
    """A process in which it cannot be imported."""
    (place / "apart").mkdir()
    (place / "apart" / "torchmetrics.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torchmetrics'\", name='torchmetrics')\n"
    )
    more = {"PYTHONPATH": f"{place / 'apart'}:{':'.join(sys.path)}"}
    refused = nnrun_apart([*WORDS, "metric=ece"], place, **more)
    assert refused.returncode == 5, refused.stderr
    assert "pip install 'nnrun[metrics]'" in refused.stderr
    done = nnrun_apart([*WORDS, "metric=brier", "trainer.epochs=1"], place, **more)
    assert done.returncode == 0, done.stderr
