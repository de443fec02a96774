"""Several labels at once, end to end: trained, resumed to the same bits, evaluated with the thresholds it learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

import nnrun
from support.command_line import run_here
from support.pictures import labelled
from support.small_runs import assert_same_bits, manifest, resume, stop_at, summary

WORDS = (
    "data=arrays",
    "data.root=pictures.npz",
    "model=mlp",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "data.val_fraction=0.25",
    "trainer.epochs=4",
    "trainer.log_every_steps=2",
    "trainer.progress=false",
    "export=none",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multilabel")
    (x, y), (x_test, y_test) = labelled(400), labelled(150, seed=1)
    np.savez(folder / "pictures.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    outcome = run_here([*WORDS, "hydra.run.dir=whole"], folder)
    assert outcome.code == 0, outcome.err
    return folder


def thresholds(run: Path, which: str = "best") -> list[float]:
    return torch.load(run / "checkpoints" / manifest(run)[which], weights_only=True)["problem"]["thresholds"]


def test_what_is_learned_follows_from_the_data_and_is_saved_as_it_became(place):
    config = torch.load(place / "whole/checkpoints" / manifest(place / "whole")["best"], weights_only=True)["config"]
    assert config["problem"]["_target_"].endswith("Multilabel")
    assert config["loss"]["_target_"].endswith("BinaryCrossEntropy")
    assert (config["data"]["num_outputs"], config["data"]["num_classes"]) == (3, None)


def test_the_metrics_of_the_test_are_scikit_learns_at_the_thresholds_of_the_validation(place):
    """Negative control: at 0.5 F1 is another."""
    run, (x, y) = place / "whole", labelled(150, seed=1)
    network = nnrun.load(run)
    with torch.inference_mode():
        probabilities = network(network.preprocessing(torch.from_numpy(x)[:, None])).sigmoid().numpy()
    chosen = np.array(thresholds(run))
    assert len(set(chosen.tolist())) == 3
    metrics = summary(run)["metrics"]
    given = (probabilities >= chosen).astype(int)
    assert metrics["test/f1_macro"] == pytest.approx(f1_score(y, given, average="macro"), abs=1e-6)
    assert metrics["test/f1_micro"] == pytest.approx(f1_score(y, given, average="micro"), abs=1e-6)
    assert metrics["test/map"] == pytest.approx(average_precision_score(y, probabilities, average="macro"), abs=1e-3)
    assert metrics["test/f1_macro"] > 0.75
    at_half = f1_score(y, (probabilities >= 0.5).astype(int), average="macro")
    assert metrics["test/f1_macro"] != pytest.approx(at_half, abs=1e-6)
    rows = summary(run)["details"]["test"]["per_label"]
    assert [row["samples"] for row in rows] == y.sum(0).astype(int).tolist()
    assert [row["threshold"] for row in rows] == chosen.tolist()


@pytest.mark.parametrize("poll", [5, 18, 30])
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(place, poll):
    run = place / f"stopped{poll}"
    with stop_at(poll):
        assert run_here([*WORDS, f"hydra.run.dir={run}"], place).code == 143
    assert resume(run) == 0
    assert_same_bits(run, place / "whole")
    assert thresholds(run, "last") == thresholds(place / "whole", "last")


def test_an_evaluation_applies_the_thresholds_of_the_checkpoint(place):
    """Also to other data. Negative control: thresholds of its own would give another F1."""
    assert run_here(["ckpt=whole", "hydra.run.dir=e"], place).code == 0
    assert summary(place / "e")["metrics"] == pytest.approx(summary(place / "whole")["metrics"])
    x, y = labelled(90, seed=5)
    np.savez(place / "other.npz", x=x, y=y)
    assert run_here(["ckpt=whole", "data.root=other.npz", "hydra.run.dir=o"], place).code == 0
    rows = summary(place / "o")["details"]["test"]["per_label"]
    assert [row["threshold"] for row in rows] == thresholds(place / "whole")


def test_without_a_validation_part_the_thresholds_are_a_half_which_is_said(place):
    outcome = run_here([*WORDS, "data.val_fraction=0", "early_stopping=none", "hydra.run.dir=n"], place)
    assert outcome.code == 0, outcome.err
    assert thresholds(place / "n") == [0.5] * 3
    assert "the thresholds of all labels are 0.5: there is no validation split" in outcome.out


def test_balanced_weights_are_counted_in_the_training_part_and_saved(place):
    outcome = run_here([*WORDS, "loss.pos_weight=balanced", "hydra.run.dir=b"], place)
    assert outcome.code == 0, outcome.err
    config = torch.load(place / "b/checkpoints" / manifest(place / "b")["best"], weights_only=True)["config"]
    counts, number = config["loss"]["label_counts"], config["loss"]["num_samples"]
    assert 200 < number < 400
    assert 0 < counts[0] < counts[2] < number
    assert run_here(["ckpt=b", "hydra.run.dir=be"], place).code == 0
    assert summary(place / "be")["metrics"] == pytest.approx(summary(place / "b")["metrics"])
    assert summary(place / "b")["metrics"]["test/loss"] != pytest.approx(
        summary(place / "whole")["metrics"]["test/loss"]
    )


def test_mixed_samples_are_learned_from(place):
    outcome = run_here([*WORDS, "augment=[mixup,cutmix]", "trainer.epochs=15", "hydra.run.dir=m"], place)
    assert outcome.code == 0, outcome.err
    assert summary(place / "m")["metrics"]["test/map"] > 0.8


def test_early_stopping_watches_map(place):
    words = ["early_stopping.monitor=valid/map", "early_stopping.patience=1", "trainer.epochs=30"]
    outcome = run_here([*WORDS, *words, "hydra.run.dir=s"], place)
    assert outcome.code == 0, outcome.err
    assert "valid/map has not improved" in outcome.out
    rows = [json.loads(line) for line in (place / "s/metrics.jsonl").read_text().splitlines()]
    best = max(row["map"] for row in rows if row["split"] == "valid")
    assert summary(place / "s")["metrics"]["valid/map"] == pytest.approx(best, abs=1e-6)


def test_a_loss_of_another_kind_is_refused(place):
    outcome = run_here([*WORDS, "problem=multilabel", "loss=cross_entropy"], place)
    assert outcome.code == 2
    assert "loss=cross_entropy is for classes" in outcome.err
