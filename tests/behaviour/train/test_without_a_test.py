"""`trainer.test=false`: a run ends with its validation, and is tested and exported later, in its own directory."""

from __future__ import annotations

import json
from pathlib import Path

from support.command_line import SHORT, run_here

WORDS = [word for word in SHORT if not word.startswith("export=")] + ["model=mlp", "export=safetensors"]


def metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "summary.json").read_text())["metrics"]


def test_a_run_that_leaves_the_test_split_alone_is_finished_later(tmp_path: Path) -> None:
    """Negative control: the same run with its test, whose every bit the later one has."""
    assert run_here([*WORDS, "trainer.test=false", "hydra.run.dir=r"], tmp_path).code == 0
    assert {name.partition("/")[0] for name in metrics(tmp_path / "r")} == {"valid"}
    assert '"test"' not in (tmp_path / "r" / "metrics.jsonl").read_text()
    assert not (tmp_path / "r" / "exports").exists()
    outcome = run_here(["resume=r"], tmp_path)
    assert "nothing to do" in outcome.out, outcome.err
    outcome = run_here(["resume=r", "trainer.test=true"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert run_here([*WORDS, "hydra.run.dir=whole"], tmp_path).code == 0
    assert metrics(tmp_path / "r") == metrics(tmp_path / "whole")
    assert (tmp_path / "r" / "exports" / "safetensors" / "verification.json").exists()
    assert "nothing to do" in run_here(["resume=r", "trainer.test=true"], tmp_path).out


def test_each_sample_is_validated_in_one_fold(tmp_path: Path) -> None:
    sizes = []
    for fold in (1, 2, 3):
        words = [*WORDS, "data.num_folds=3", f"data.fold={fold}", "trainer.test=false", f"hydra.run.dir=f{fold}"]
        assert run_here([word for word in words if "val_fraction" not in word], tmp_path).code == 0
        splits = json.loads((tmp_path / f"f{fold}" / "summary.json").read_text())["data"]["splits"]
        sizes.append((splits["train"]["samples"], splits["valid"]["samples"]))
    assert {train + valid for train, valid in sizes} == {200}
    assert sum(valid for _, valid in sizes) == 200
    for words, says in (
        (["data.num_folds=3"], "data.val_fraction=0.2 has no effect with data.num_folds=3"),
        (["data.fold=2"], "data.fold=2 has an effect only with data.num_folds"),
        (["data.num_folds=3", "data.fold=4"], "data.fold=4 is not one of the data.num_folds=3 parts"),
    ):
        outcome = run_here([*WORDS, *words], tmp_path)
        assert (outcome.code, says in outcome.err) == (2, True), outcome.err
