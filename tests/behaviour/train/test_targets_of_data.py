"""Labels and values out of files and data sets of one's own, from end to end: trained, resumed to the same bits,
evaluated, exported with proof, predicted with."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import nnrun
from support.command_line import run_here, write_files
from support.pictures import save
from support.small_runs import assert_same_bits, manifest, stop_at, summary

OWN = """\
import numpy as np
import torch
from torch import nn

class People:
    target_names = ["size"]

    def __init__(self, train):
        draw = np.random.default_rng(int(train))
        self.x = draw.integers(0, 256, (60 if train else 30, 3, 3), dtype=np.uint8)
        self.age = draw.normal(40, 10, (len(self.x), 1))
        self.y = self.x.mean((1, 2)) / 10 + self.age[:, 0]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"image": torch.from_numpy(self.x[index])[None], "age": self.age[index]}, self.y[index]

class OfBoth(nn.Module):
    def __init__(self, image, age, num_outputs):
        super().__init__()
        self.hidden = nn.Linear(int(np.prod(image)) + age[0], 16)
        self.head = nn.Linear(16, num_outputs)

    def forward(self, inputs):
        both = torch.cat([inputs["image"].flatten(1), inputs["age"]], 1)
        return self.head(self.hidden(both).relu())
"""
OWN_FILES = {
    "people.py": OWN,
    "conf/data/people.yaml": "# Mine.\ndefaults: [_base]\nname: people\ndataset:\n  _target_: people.People\n",
    "conf/model/both.yaml": "# Mine.\n_target_: people.OfBoth\nimage: ${data.in_shape.image}\n"
    "age: ${data.in_shape.age}\nnum_outputs: ${data.num_outputs}\n",
}
WORDS = (*("data.batch_size=16", "data.val_fraction=0.2", "trainer.epochs=3", "trainer.progress=false", "export=none"),)
KINDS = {
    "labels": ["data=folder", "data.root=tagged", "model=mlp", "model.hidden=16", "optimizer.lr=0.01"],
    "values": [
        "data=folder",
        "data.root=sized",
        "data.labels=sized/sizes.csv",
        "model=mlp",
        "model.hidden=16",
        "optimizer.lr=0.01",
    ],
    "several inputs": ["data=people", "model=both", "optimizer.lr=0.1"],
}


def picture(index: int, top: bool, bottom: bool) -> torch.Tensor:
    image = torch.randint(0, 80, (12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
    image[:4] += 120 * top
    image[8:] += 120 * bottom
    return image


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("targets")
    tags, sizes = ["file,tags"], ["file;height;width;split"]
    for index in range(90):
        top, bottom = index % 2 == 0, index % 3 == 0
        image = picture(index, top, bottom)
        save(home / "tagged" / f"{index:02}.png", image)
        tags.append(f"{index:02}.png,{'|'.join(name for name, holds in (('top', top), ('bottom', bottom)) if holds)}")
        save(home / "sized" / f"{index:02}.png", image)
        part = "test" if index % 5 == 0 else "train"
        height, width = image[:4].float().mean(), image[8:].float().mean() * 10
        sizes.append(f"{index:02}.png;" + f"{height:.3f};{width:.2f};".replace(".", ",") + part)
    write_files(home, OWN_FILES | {"tagged/labels.csv": "\n".join(tags), "sized/sizes.csv": "\n".join(sizes)})
    for kind, words in KINDS.items():
        run(home, f"whole-{kind}".replace(" ", "-"), [*words, *WORDS])
    return home


def run(home: Path, name: str, words: Sequence[str], *, stop: int | None = None) -> Path:
    """Run in a directory of that name; a stop is a SIGTERM at that poll."""
    with stop_at(stop):
        outcome = run_here([*words, f"hydra.run.dir={home / name}"], home)
    assert outcome.code == (143 if stop else 0), outcome.err
    return home / name


def whole(home: Path, kind: str) -> Path:
    return home / f"whole-{kind}".replace(" ", "-")


def trust(kind: str) -> list[str]:
    return ["trust=[people]"] if kind == "several inputs" else []


def saved(run: Path) -> dict:
    return torch.load(run / "checkpoints" / manifest(run)["best"], weights_only=True)


@pytest.mark.parametrize(
    ("kind", "targets", "at_least", "in_shape"),
    [
        ("labels", {"kind": "labels", "names": ["bottom", "top"]}, ("f1_macro", 0.85), [1, 12, 12]),
        ("values", {"kind": "values", "names": ["height", "width"]}, ("r2", 0.5), [1, 12, 12]),
        ("several inputs", {"kind": "values", "names": ["size"]}, ("r2", 0.3), {"age": [1], "image": [1, 3, 3]}),
    ],
)
def test_what_is_learned_is_saved_and_learned(home: Path, kind, targets, at_least, in_shape) -> None:
    found = saved(whole(home, kind))
    assert found["targets"] == targets
    data = found["config"]["data"]
    assert (data["in_shape"], data["num_outputs"], data["num_classes"]) == (in_shape, len(targets["names"]), None)
    assert data["targets"] == targets["kind"], "saved as what it became"
    metric, least = at_least
    assert summary(whole(home, kind))["metrics"][f"test/{metric}"] > least


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_resumes_to_the_same_bits(home: Path, kind: str) -> None:
    stopped = run(home, f"stopped-{kind}".replace(" ", "-"), [*KINDS[kind], *WORDS], stop=4)
    assert run_here([f"resume={stopped}", *trust(kind)], home).code == 0
    assert_same_bits(stopped, whole(home, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_gives_the_runs_metrics_and_its_exports_are_proven(home: Path, kind: str) -> None:
    again = run(home, f"again-{kind}".replace(" ", "-"), [f"ckpt={whole(home, kind)}", "export=onnx", *trust(kind)])
    assert summary(again)["metrics"] == pytest.approx(summary(whole(home, kind))["metrics"])
    proofs = summary(again)["artifacts"]
    assert [(proof["ok"], proof["agreement"]) for proof in proofs.values()] == [(True, 1.0)]


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_a_prediction_has_a_column_for_each_label_or_value(home: Path, kind: str) -> None:
    folder = KINDS[kind][1].removeprefix("data.root=")
    made = run(home, f"predicted-{kind}", ["task=predict", f"ckpt={whole(home, kind)}", f"input={folder}/0*.png"])
    with (made / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    names = saved(whole(home, kind))["targets"]["names"]
    if kind == "values":
        assert list(rows[0]) == ["path", *(f"prediction_{name}" for name in names)]
        return
    assert list(rows[0]) == ["path", *names, *(f"probability_{name}" for name in names)]
    thresholds = nnrun.load(whole(home, kind)).thresholds
    for name, threshold in zip(names, thresholds, strict=True):
        assert [row[name] for row in rows] == [str(int(float(row[f"probability_{name}"]) >= threshold)) for row in rows]
    words = ["task=predict", f"ckpt={whole(home, kind)}", f"input={folder}/0*.png", "predict.format=kaggle"]
    with (run(home, f"kaggle-{kind}", words) / "predictions.csv").open(newline="") as file:
        kaggle = list(csv.DictReader(file))
    assert [row["Label"] for row in kaggle] == [" ".join(name for name in names if row[name] == "1") for row in rows]


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_where_the_samples_lie_changes_no_bit(home: Path, kind: str) -> None:
    streamed = run(home, f"streamed-{kind}", [*KINDS[kind], *WORDS, "data.residency=stream"])
    assert (streamed / "metrics.jsonl").read_bytes() == (whole(home, kind) / "metrics.jsonl").read_bytes()
    limited = run(home, f"limited-{kind}", [*KINDS[kind], *WORDS, "data.limit=40"])
    assert (limited / "metrics.jsonl").read_bytes() != (whole(home, kind) / "metrics.jsonl").read_bytes()


def test_other_data_are_measured_by_the_names_that_the_network_has_learned(home: Path, tmp_path: Path) -> None:
    """With the columns in another order, and without what the training saw."""
    for index in range(100, 120):
        save(tmp_path / "other" / f"{index}.png", picture(index, index % 2 == 0, index % 3 == 0))
    rows = [f"{index}.png,{int(index % 2 == 0)},{int(index % 3 == 0)}" for index in range(100, 120)]
    (tmp_path / "other" / "labels.csv").write_text("\n".join(["file,top,bottom", *rows]))
    made = run(home, "other", [f"ckpt={whole(home, 'labels')}", f"data.root={tmp_path / 'other'}"])
    assert summary(made)["metrics"]["test/f1_macro"] > 0.85
    assert summary(made)["details"]["test"]["per_label"][0]["samples"] == 6
    seen = shutil.copytree(home / "tagged", tmp_path / "seen")
    (seen / "labels.csv").write_text((seen / "labels.csv").read_text().replace("top", "roof"))
    refused = run_here([f"ckpt={whole(home, 'labels')}", f"data.root={seen}", "hydra.run.dir=refused"], home)
    assert refused.code == 3
    assert "is not a label of the network; its labels are bottom, top" in refused.err


def test_the_data_of_each_kind_are_reported(home: Path) -> None:
    made = run(home, "inspected", ["task=inspect", *KINDS["labels"], "data.batch_size=16", "model=mlp"])
    report = json.loads((made / "inspect.json").read_text())["data"]
    assert (report["kind"], report["counts"]["test"].keys()) == ("labels", {"bottom", "top"})
    assert report["together"]["most"] == 2
    made = run(home, "inspected-people", ["task=inspect", *KINDS["several inputs"], "data.batch_size=16"])
    report = json.loads((made / "inspect.json").read_text())["data"]
    assert report["sample_shape"] == {"age": [1], "image": [1, 3, 3]}
    assert set(report["spread"]["train"]["size"]) == {"min", "mean", "std", "max", "histogram"}
    assert (made / "batch.png").is_file()


def test_integers_are_values_where_the_problem_is_a_regression(tmp_path: Path) -> None:
    """Negative control: where nothing is said they are classes."""
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "ages.npz", x=x, y=np.arange(60) % 6 + 20)
    words = ["data=arrays", "data.root=ages.npz", "model=mlp", *WORDS]
    for more, kind in (([], "classes"), (["problem=regression"], "values"), (["data.targets=values"], "values")):
        assert saved(run(tmp_path, kind + str(len(str(more))), [*words, *more]))["targets"]["kind"] == kind


OF_FACTS = """\
import torch
from torch import nn

from nnrun.api import Dataset, Split, Targets

class AsIs:
    def __call__(self, raw):
        return raw

    def to_plain(self):
        return {"_target_": "words.AsIs"}

class Words:
    def __init__(self, size=9):
        self.size = size

    def load(self):
        draw = torch.Generator().manual_seed(0)
        tokens = torch.randint(0, self.size, (90, 5), generator=draw)
        split = Split({"tokens": tokens}, torch.stack([(tokens == word).any(1) for word in (1, 2)], 1).float())
        parts = [split.subset(torch.arange(low, high)) for low, high in ((0, 70), (70, 90))]
        return Dataset(*parts, Targets.labels(["one", "two"]), AsIs(), facts={"vocab_size": self.size})

class Bag(nn.Module):
    def __init__(self, vocab_size, num_outputs):
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(vocab_size, 8), nn.Linear(8, num_outputs)

    def forward(self, inputs):
        return self.head(self.words(inputs["tokens"]))
"""


def test_a_network_is_built_by_what_the_data_states(tmp_path: Path) -> None:
    """Of other data, where it is another number, the network would be another one."""
    data = "# Mine.\ndefaults: [_base]\nname: words\ndataset:\n  _target_: words.Words\n  size: 9\n"
    model = "# Mine.\n_target_: words.Bag\nvocab_size: ${data.facts.vocab_size}\nnum_outputs: ${data.num_outputs}\n"
    files = {"words.py": OF_FACTS, "conf/data/words.yaml": data, "conf/model/words.yaml": model}
    write_files(tmp_path, files)
    words = ["data=words", "model=words", *WORDS]
    whole, stopped = run(tmp_path, "whole", words), run(tmp_path, "stopped", words, stop=4)
    found = saved(whole)
    assert (found["config"]["data"]["facts"], found["config"]["model"]["vocab_size"]) == ({"vocab_size": 9}, 9)
    assert found["model"]["words.weight"].shape == (9, 8)
    assert run_here([f"resume={stopped}", "trust=[words]"], tmp_path).code == 0
    assert_same_bits(stopped, whole)
    again = run(tmp_path, "again", [f"ckpt={whole}", "trust=[words]"])
    assert summary(again)["metrics"] == pytest.approx(summary(whole)["metrics"])
    other = run_here([f"ckpt={whole}", "trust=[words]", "data.dataset.size=12", "hydra.run.dir=other"], tmp_path)
    assert other.code == 3
    assert "data.facts is {'vocab_size': 9}, but words has {'vocab_size': 12}" in other.err
    write_files(tmp_path, {"conf/model/words.yaml": model.replace("facts.vocab_size", "facts.vocabulary")})
    wrong = run_here([*words, "hydra.run.dir=wrong"], tmp_path)
    assert wrong.code == 2
    assert (
        "model.vocab_size refers to data.facts.vocabulary, which does not exist; the data has vocab_size" in wrong.err
    )
