"""Each usual kind of transformers' classifiers: trained, resumed to the same bits, exported, predicted with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.locate import locate
from support.command_line import run_here
from support.huggingface import IMAGE_MODELS, make_image_model, make_text_model
from support.pictures import make_folder
from support.small_runs import assert_same_bits, resume, summary
from support.small_runs import train as train_small
from support.texts import make_texts

pytestmark = pytest.mark.extras

TEXT_MODELS = ("Bert", "DistilBert", "Roberta")
TEXTS = ("data=text", "data.root=reviews.csv", "data.target=label", "data.text=review")
IMAGES = ("data=folder", "data.root=insects", "data.channels=3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kinds")
    make_texts(place / "reviews.csv", 120)
    make_folder(place / "insects", {"train": 20, "test": 12}, classes=("ant", "bee", "fly"), size=32)
    return place


@pytest.mark.parametrize("kind", [*TEXT_MODELS, *IMAGE_MODELS])
def test_it_is_trained_resumed_proven_and_predicted_with(place: Path, kind: str) -> None:
    of_texts = kind in TEXT_MODELS
    (make_text_model if of_texts else make_image_model)(place / kind, kind)
    words = ["model=hf", f"model.name={kind}", *(TEXTS if of_texts else IMAGES), "optimizer.lr=1e-3", "data.limit=null"]
    run = place / f"{kind}_run"
    assert train_small(run, *words) == 0
    assert train_small(place / f"{kind}_stopped", *words, stop=4) == 143
    assert resume(place / f"{kind}_stopped") == 0
    assert_same_bits(run, place / f"{kind}_stopped")
    exported = run_here([f"ckpt={run}", "export=[onnx,hub]", f"hydra.run.dir={kind}_exported"], place)
    assert (exported.code, exported.err) == (0, ""), exported.err
    artifacts = summary(place / f"{kind}_exported")["artifacts"]
    assert {name: one["ok"] for name, one in artifacts.items()} == {"onnx": True, "hub": True}
    (place / "new.txt").write_text("the film was lovely\nan awful plot\n")
    given = "new.txt" if of_texts else "insects/test"
    found = []
    for source in (run, place / f"{kind}_exported" / "exports" / "onnx" / "model.onnx"):
        out = place / f"{kind}_{source.suffix or 'run'}_predicted"
        done = run_here(["task=predict", f"ckpt={source}", f"input={given}", f"hydra.run.dir={out}"], place)
        assert (done.code, done.err) == (0, ""), done.err
        with (out / "predictions.csv").open(newline="") as file:
            found.append([(row["class"], float(row["probability"])) for row in csv.DictReader(file)])
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    assert [each for _, each in found[0]] == pytest.approx([each for _, each in found[1]], abs=1e-5)


def test_padding_that_is_not_0_is_masked(place: Path) -> None:
    """Each text alone in transformers gives the same scores; `<s>`, the token 0, is kept at the start of each."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    import nnrun as package

    make_text_model(place / "padded", "Roberta")
    words = ["model=hf", "model.name=padded", *TEXTS, "data.limit=null"]
    assert train_small(place / "padded_run", *words) == 0
    saved = torch.load(locate(place / "padded_run", "best").path, weights_only=True)
    assert saved["preprocessing"]["padding"] == 1
    theirs = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(**saved["config"]["model"]["config"], num_labels=2)
    ).eval()
    theirs.load_state_dict(saved["model"])
    tokenizer = json.loads((place / "padded_run" / "tokenizer.json").read_text())["model"]["vocab"]
    texts = ["the film was good", "a poor plot of it and the actors", "good"]
    alone = [theirs(torch.tensor([[0, *(tokenizer[word] for word in text.split()), 2]])).logits for text in texts]
    best = torch.cat(alone).softmax(1).max(1)
    rows = package.predictor(place / "padded_run")(texts)
    assert [row["probability"] for row in rows] == pytest.approx(best.values.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "words", "code", "says"),
    [
        # Its two layers read the whole sequence, and take its first token: their input cannot be kept.
        (
            "Roberta",
            ["transfer.freeze=backbone", "transfer.head=classifier"],
            0,
            "the head reads sequences of different lengths",
        ),
        ("Roberta", ["transfer.freeze=[roberta.*]"], 0, "classifier.dense is new: the file has no weights for it"),
        (
            "Roberta",
            ["transfer.freeze=backbone"],
            2,
            "classifier.dense, which the weights lack and which would stay ran",
        ),
        ("DistilBert", ["transfer.freeze=[distilbert.*]"], 0, "pre_classifier is new: the file has no weights for it"),
        (
            "lacking",
            ["model.name=lacking"],
            0,
            "bert.encoder.layer.1.output.dense is new: the file has no weights for it",
        ),
        ("lacking", ["transfer.freeze=backbone"], 2, "bert.encoder.layer.1.output.dense, which the weights lack"),
    ],
)
def test_layers_that_the_file_lacks_are_said_and_never_frozen(
    place: Path, kind: str, words: list[str], code: int, says: str
) -> None:
    from safetensors.torch import load_file, save_file

    make_text_model(place / kind, "Bert" if kind == "lacking" else kind)
    if kind == "lacking":
        weights = load_file(place / kind / "model.safetensors")
        kept = {name: of for name, of in weights.items() if not name.startswith("encoder.layer.1.output.dense")}
        save_file(kept, place / kind / "model.safetensors", {"format": "pt"})
    short = ("trainer.epochs=1", "data.batch_size=30", "export=none", "report=none")
    done = run_here(["model=hf", f"model.name={kind}", *words, *TEXTS, *short], place)
    assert done.code == code, done.err
    said = " ".join((done.err if code else done.out).split())
    assert says in said, said
    assert ("306 trainable parameters of" in said) == (code == 0 and kind != "lacking")


@pytest.mark.parametrize(
    ("change", "words", "code", "says"),
    [
        ({"pad_token_id": None}, [], 2, "(roberta) has no padding: set pad_token_id in its config.json"),
        ({"pad_token_id": 9}, [], 3, "the token 9 of tokenizer.file="),
        ({}, ["tokenizer.padding=0"], 2, "padding follows from the model; remove it"),
    ],
)
def test_padding_that_is_none_is_refused(place: Path, change: dict, words: list[str], code: int, says: str) -> None:
    make_text_model(place / "odd", "Roberta")
    config = json.loads((place / "odd" / "config.json").read_text())
    (place / "odd" / "config.json").write_text(json.dumps(config | change))
    done = run_here(["model=hf", "model.name=odd", *TEXTS, *words, "export=none", "report=none"], place)
    assert (done.code, says in done.err) == (code, True), done.err
