"""export=hub of a network for several labels at once; an artifact whose tokenizer nnrun would not read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import nnrun as package
from nnrun.assembly.prediction import onnx_facts
from nnrun.tasks.export import exports
from support.command_line import run_here
from support.huggingface import make_bert
from support.small_runs import summary
from support.texts import reviews

pytestmark = pytest.mark.extras

TAGS = ("data=text", "data.root=tags.csv", "data.target=tags", "data.targets=labels")
SHORT = ("data.batch_size=16", "trainer.progress=false", "report=none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("labels")
    make_bert(place / "bert")
    with (place / "tags.csv").open("w", newline="") as file:
        rows = [[text, ";".join(["long"] * (len(text) > 60) + [label])] for text, label in reviews(160)]
        csv.writer(file).writerows([["text", "tags"], *rows])
    return place


def test_labels_are_read_by_transformers_with_the_thresholds_of_the_run(place: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    words = ["model=hf", "model.name=bert", *TAGS]
    made = run_here([*words, *SHORT, "trainer.epochs=4", "optimizer.lr=5e-3", "export=hub", "hydra.run.dir=run"], place)
    assert (made.code, made.err) == (0, ""), made.err
    assert summary(place / "run")["artifacts"]["hub"]["ok"]
    folder = place / "run" / "exports" / "hub"
    config = json.loads((folder / "config.json").read_text())
    names = list(config["label2id"])
    assert (config["problem_type"], len(names)) == ("multi_label_classification", 3)
    texts = ["the film was good", "a poor plot of it and the actors"]
    network = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    logits = network.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    ours = package.predictor(place / "run").predict_array(texts)
    assert logits.sigmoid().tolist() == [pytest.approx(row, abs=1e-5) for row in ours.tolist()]
    # The thresholds are those of the run, not the halves that a reader would take without them.
    thresholds = package.predictor(place / "run").problem.state_dict()["thresholds"]
    assert network.config.thresholds == thresholds
    assert thresholds != [0.5] * 3
    card = (folder / "README.md").read_text()
    assert all(f"{name!r} {number:.4g}" in card for name, number in zip(names, thresholds, strict=True))
    # transformers' own pipeline applies the sigmoid, since it reads the kind of the problem.
    (said,) = pipeline("text-classification", model=network, tokenizer=tokenizer, top_k=None)([texts[0]])
    expected = dict(zip(names, ours[0].tolist(), strict=True))
    assert {row["label"]: row["score"] for row in said} == pytest.approx(expected, abs=1e-5)


def test_a_tokenizer_that_nnrun_does_not_read_back_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*TAGS, "trainer.epochs=1", *SHORT]
    fits = run_here([*words, "export=onnx", "hydra.run.dir=fits"], place)
    assert (fits.code, fits.err) == (0, "")
    monkeypatch.setattr(exports, "MAX_BYTES", 100)
    monkeypatch.setitem(onnx_facts._MAX_BYTES_OF, "preprocessing", 100)
    large = run_here([*words, "export=onnx", "hydra.run.dir=large"], place)
    assert (large.code, large.err) == (0, "")
    note = "predict with the run, or use tokenizer.json beside the artifact"
    assert note in " ".join(large.out.split())
    assert note not in " ".join(fits.out.split())
    assert any(note in each for each in summary(place / "large")["artifacts"]["onnx"]["notes"])
    assert (place / "large" / "exports" / "onnx" / "tokenizer.json").is_file()
    (place / "new.txt").write_text("good\n")
    refused = run_here(["task=predict", "ckpt=large/exports/onnx/model.onnx", "input=new.txt"], place)
    assert (refused.code, "use the run that it is from, ckpt=RUN" in " ".join(refused.err.split())) == (4, True)
