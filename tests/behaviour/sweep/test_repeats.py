"""Seeds, folds, and the test split: repeats are one point, and only the winner of a search is tested."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.sweeps.sweep import sweep
from nnrun.tasks.rules import collect_rules
from support.command_line import SHORT, run_here

WORDS = ["-m", *SHORT, "model=mlp", "optimizer.lr=1e-9,1e-2", "hydra.sweep.dir=s", "sweep.parallel=1"]


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "s" / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_only_the_best_point_is_tested_and_exported(tmp_path: Path) -> None:
    """Two rates with two seeds each: the best job of the better rate is tested, where a grid tests all by default."""
    words = [word for word in WORDS if word != "export=none"]
    outcome = run_here([*words, "export=safetensors", "sweep.seeds=2", "sweep.test=best"], tmp_path)
    assert outcome.code == 0, outcome.err
    table = rows_in(tmp_path)
    assert [(row["optimizer.lr"], bool(row["test/accuracy"])) for row in table] == [
        ("0.01", True),
        ("0.01", False),
        ("1e-09", False),
        ("1e-09", False),
    ]
    assert {row["seed"] for row in table} == {"0", "1"}
    best = tmp_path / "s" / "best"
    assert best.resolve().name == Path(table[0]["directory"]).name
    assert json.loads((best / "summary.json").read_text())["artifacts"]["safetensors"]["ok"]
    assert not (tmp_path / table[1]["directory"] / "exports").exists()
    points = json.loads((tmp_path / "s" / "sweep.json").read_text())["points"]
    assert [(point["overrides"], point["jobs"]) for point in points] == [
        ({"optimizer.lr": "0.01"}, [2, 3]),
        ({"optimizer.lr": "1e-09"}, [0, 1]),
    ]
    # Resumed, it asks for one more; what is tested stays.
    assert run_here(["-m", "resume=s", "sweep.top=1"], tmp_path).code == 0
    assert [bool(row["test/accuracy"]) for row in rows_in(tmp_path)] == [True, False, True, False]


def test_folds_are_one_point_of_all_training_samples(tmp_path: Path) -> None:
    words = [word for word in WORDS if not word.startswith(("data.val_fraction", "optimizer.lr"))]
    outcome = run_here([*words, "sweep.folds=3"], tmp_path)
    assert outcome.code == 0, outcome.err
    summaries = [json.loads((tmp_path / row["directory"] / "summary.json").read_text()) for row in rows_in(tmp_path)]
    assert sum(summary["data"]["splits"]["valid"]["samples"] for summary in summaries) == 200
    (point,) = json.loads((tmp_path / "s" / "sweep.json").read_text())["points"]
    assert point["metric"] == "valid/loss"
    assert point["interval"][0] < point["mean"] < point["interval"][1]


def test_a_dry_run_lists_the_jobs_and_leaves_nothing(tmp_path: Path) -> None:
    outcome = run_here(
        [*WORDS, "seed=0,1", "sweep.exclude=['seed=1,optimizer.lr=1e-2']", "sweep.dry_run=true"], tmp_path
    )
    assert (outcome.code, outcome.created) == (0, [])
    assert outcome.out.splitlines()[1:] == [
        "  0: optimizer.lr=1e-09 seed=0",
        "  1: optimizer.lr=1e-09 seed=1",
        "  2: optimizer.lr=0.01 seed=0",
    ]
    outcome = run_here([*WORDS, "seed=0,-1", "sweep.dry_run=true"], tmp_path)
    assert (outcome.code, outcome.created) == (1, [])
    assert "nnrun: jobs 1, 3: seed is -1; allowed: " in outcome.err
    outcome = run_here([*WORDS, "optimizer.lrr=1", "sweep.dry_run=true"], tmp_path)
    assert (outcome.code, outcome.created) == (1, [])
    assert outcome.err.splitlines() == [
        "nnrun: all 2 jobs: optimizer.lrr is not a setting; did you mean 'optimizer.lr'?",
        "nnrun: 2 of 2 jobs would fail",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seed=0,1", "sweep.seeds=2"], "seed and sweep.seeds exclude each other"),
        (["seed=0,1", "sweep.folds=2", "data.fold=1"], "data.fold and sweep.folds exclude each other"),
        (["seed=0,1", "sweep.test=best", "trainer.test=true"], "trainer.test and sweep.test=best exclude each other"),
        (["seed=0,1", "sweep.top=2"], "sweep.top=2 has an effect only with sweep.test=best"),
        (["ckpt=r", "sweep.test=best"], "sweep.test=best has an effect only on trainings"),
    ],
)
def test_what_excludes_each_other_is_said(words: list[str], says: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        sweep(words, [], collect_rules())
    assert says in str(error.value)
    assert not list(tmp_path.iterdir())
