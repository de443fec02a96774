"""A metric of one's own decides which weights are the best, in its own direction, which it says once it is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import SHORT, Row, run_here, run_rows, write_files

# `distance` is what is left to an accuracy of 1: less of it is better, and the best epochs are those of the accuracy.
MODULE = """\
import torch

class Distance:
    def __init__(self, ways=("less",)):
        says = {"less": {"value": False}, "more": {"value": True}, "pair": {"near": False, "far": True}}
        self.higher_is_better = says.get(ways[0], {})
        self.names = ("near", "far") if ways[0] == "pair" else ("value",)
    def init(self, device):
        return {name: torch.zeros((), dtype=torch.float64, device=device) for name in ("wrong", "all")}
    def update(self, sums, outputs, losses, batch):
        sums["wrong"].add_((batch.weight * (outputs.argmax(1) != batch.targets)).sum())
        sums["all"].add_(batch.weight.sum())
    def compute(self, sums):
        return dict.fromkeys(self.names, float(sums["wrong"] / sums["all"]))
"""
FILES = {
    "own.py": MODULE,
    "conf/metric/distance.yaml": "# @package metric.distance\n_target_: own.Distance\nways: [less]\n",
}
RUN = (*SHORT, "model=mlp", "trainer.epochs=4", "trainer.max_steps=24", "metric=distance")
WATCH = "early_stopping.monitor=valid/distance"


def rows_of(run: Path, split: str) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["split"] == split]


def test_less_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    """Negative control: the same metric that claims the contrary chooses the epoch that was worst."""
    write_files(tmp_path, FILES)
    outcome = run_here([*RUN, WATCH, "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 0, outcome.err
    rows, summary = rows_of(tmp_path / "r", "valid"), json.loads((tmp_path / "r" / "summary.json").read_text())
    values = [row["distance"] for row in rows]
    assert len(set(values)) > 1
    assert values == pytest.approx([1 - row["accuracy"] for row in rows])
    assert (summary["monitor"], summary["mode"], summary["headline"]) == ("valid/distance", "min", "accuracy")
    assert summary["best"]["epoch"] == values.index(min(values)) + 1
    assert f"valid/distance {values[0]:.4f}" in outcome.out, "it is said of each epoch"
    assert summary["metrics"]["test/distance"] == pytest.approx(1 - summary["metrics"]["test/accuracy"])
    assert run_here([*RUN, WATCH, "metric.distance.ways=[more]", "hydra.run.dir=m"], tmp_path).code == 0
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert (summary["mode"], summary["best"]["epoch"]) == ("max", values.index(max(values)) + 1)


def test_a_run_with_a_metric_of_one_s_own_is_measured_by_it_again(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    assert run_here([*RUN, WATCH, "hydra.run.dir=r"], tmp_path).code == 0
    assert run_here(["ckpt=r", "hydra.run.dir=refused"], tmp_path).code == 4, "the file's class is not trusted"
    outcome = run_here(["ckpt=r", "trust=[own]", "hydra.run.dir=e"], tmp_path)
    assert outcome.code == 0, outcome.err
    metrics = [json.loads((tmp_path / run / "summary.json").read_text())["metrics"] for run in ("r", "e")]
    assert metrics[0] == metrics[1]
    assert "test/distance" in metrics[1]


ROWS = {
    "a way that nobody knows": Row(
        [*RUN, WATCH, "metric.distance.ways=[unsaid]"],
        2,
        [
            "early_stopping.mode must be min or max: it is unknown whether a higher valid/distance is better; known",
            "valid/accuracy",
        ],
        FILES,
    ),
    "a way that is typed": Row([*RUN, WATCH, "metric.distance.ways=[unsaid]", "early_stopping.mode=min"], 0, [], FILES),
    "the wrong way": Row(
        [*RUN, WATCH, "early_stopping.mode=max"], 2, ["would select the worst weights by valid/distance"], FILES
    ),
    "one of several values": Row(
        [*RUN, "early_stopping.monitor=valid/distance_far", "metric.distance.ways=[pair]"], 0, [], FILES
    ),
    "a schedule that watches it": Row([*RUN, WATCH, "scheduler=plateau", "scheduler.patience=0"], 0, [], FILES),
    "a metric that is not chosen": Row(
        [*SHORT, WATCH], 2, ["early_stopping.monitor is 'valid/distance'; allowed: valid/loss"], FILES
    ),
    "the name of a metric of the problem": Row(
        [*SHORT, "metric=accuracy"],
        2,
        ["metric.accuracy has the name of one of the problem's metrics; rename its option"],
        {"own.py": MODULE, "conf/metric/accuracy.yaml": "# @package metric.accuracy\n_target_: own.Distance\n"},
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    return run_rows(ROWS, tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("name", ROWS)
def test_what_may_be_watched(name: str, outcomes) -> None:
    row, outcome = ROWS[name], outcomes[name]
    assert outcome.code == row.code, outcome.err
    for text in row.says:
        assert text in outcome.err
    if row.code == 2 and name not in ("a way that nobody knows", "the wrong way"):
        assert outcome.created == [], "it is known before a directory is made"
