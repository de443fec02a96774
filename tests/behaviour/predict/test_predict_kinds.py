"""task=predict for several labels, at their thresholds, and for values, in the data's units: of runs and of exports."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nnrun
from support.command_line import run_here
from support.pictures import labelled, save, valued

WORDS = ("data=arrays", "model=mlp", "data.batch_size=30", "data.val_fraction=0.25", "trainer.progress=false")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind with its export, and pictures that neither has seen."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, make in (("labels", labelled), ("values", valued)):
        x, y = make(400)
        np.savez(folder / f"{name}.npz", x=x, y=y)
        outcome = run_here([*WORDS, f"data.root={name}.npz", "trainer.epochs=6", f"hydra.run.dir={name}"], folder)
        assert outcome.code == 0, outcome.err
        for index, picture in enumerate(make(20, seed=7)[0]):
            save(folder / f"pictures of {name}" / f"{index:02}.png", torch.from_numpy(picture))
    return folder


def predicted(place: Path, kind: str, source: str, *words: str) -> tuple[list[dict[str, str]], str]:
    """The rows of predictions.csv, and what was printed."""
    out = f"{kind}-{source.replace('/', '-')}"
    outcome = run_here(
        ["task=predict", f"ckpt={source}", f"input=pictures of {kind}", *words, f"hydra.run.dir={out}"], place
    )
    assert outcome.code == 0, outcome.err
    with (place / out / "predictions.csv").open() as file:
        return list(csv.DictReader(file)), outcome.out


@pytest.mark.parametrize("source", ["labels", "labels/exports/onnx/model.onnx"])
def test_labels_are_given_from_their_thresholds_on(place, source):
    """Negative control: at 0.5 others would be given."""
    rows, out = predicted(place, "labels", source)
    per_label = json.loads((place / "labels/summary.json").read_text())["details"]["test"]["per_label"]
    names, thresholds = [row["label"] for row in per_label], [row["threshold"] for row in per_label]
    assert list(rows[0])[: len(names) + 1] == ["path", *names]
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
    given = np.array([[int(row[name]) for name in names] for row in rows])
    assert (given == (probabilities >= thresholds)).all()
    assert (given != (probabilities >= 0.5)).any()
    truth = labelled(20, seed=7)[1]
    assert (given == truth).mean() > 0.75
    assert "labels " in out


@pytest.mark.parametrize("source", ["values", "values/exports/onnx/model.onnx"])
def test_values_are_in_the_data_s_units(place, source):
    rows, out = predicted(place, "values", source)
    found = np.array([[float(row[f"prediction_value_{i}"]) for i in (0, 1)] for row in rows])
    truth = valued(20, seed=7)[1]
    assert np.abs(found - truth).max(0) == pytest.approx([0, 0], abs=10), "of 50, and of a thousandth"
    assert np.corrcoef(found[:, 1], truth[:, 1])[0, 1] > 0.9
    assert "classes" not in out


def test_alternatives_are_for_classes_alone(place):
    for kind in ("labels", "values"):
        outcome = run_here(["task=predict", f"ckpt={kind}", f"input=pictures of {kind}", "predict.top_k=2"], place)
        assert outcome.code == 2
        assert "predict.top_k=2 has no effect: predictions of " in outcome.err


def test_a_label_that_is_called_as_another_column_has_one_of_its_own(place, tmp_path):
    x, y = labelled(150)
    for index, picture in enumerate(x):
        save(tmp_path / "listed" / f"{index}.png", torch.from_numpy(picture))
    lines = ["file,path,probability_path", *(f"{index}.png,{row[0]},{row[1]}" for index, row in enumerate(y))]
    (tmp_path / "listed" / "labels.csv").write_text("\n".join(lines) + "\n")
    words = [word for word in WORDS if word.split("=")[0] not in ("data", "data.root")]
    words += ["data=folder", "data.root=listed", "trainer.epochs=1", "export=none", "hydra.run.dir=run"]
    assert run_here(words, tmp_path).code == 0
    pictures = place / "pictures of labels"
    assert run_here(["task=predict", "ckpt=run", f"input={pictures}", "hydra.run.dir=out"], tmp_path).code == 0
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    titles = ["path", "path_2", "probability_path", "probability_path_2", "probability_probability_path"]
    assert list(rows[0]) == titles
    assert rows[0]["path"].endswith("00.png")
    assert list(nnrun.predictor(tmp_path / "run")(pictures)[0]) == ["path", *titles[2:]]
