"""Files that version 0.1.0 wrote (tests/data/0.1.0/make.sh) keep working, and keep meaning what they meant."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nnrun
from nnrun.cli import main

FILES = Path(__file__).parents[2] / "data" / "0.1.0" / "files.tar.xz"
# The runs, and what is typed beside ckpt= to find their data where it lies now: the same samples at another place are
# the run's own, and are split as it split them.
RUNS = {
    "mlp": (),
    "cnn_ema": (),
    "resnet18_frozen": (),
    "folder": ("data.root=photos",),
    "deep16": ("data.root=deep",),
    "arrays": ("data.root=arrays.npz",),
    "own": ("model=mynet",),
}
PREDICTED = {
    "folder": ("folder", "photos"),
    "deep16": ("deep16", "deep"),
    "folder_onnx": ("folder/exports/onnx/model.onnx", "photos"),
    "arrays_safetensors": ("arrays/exports/safetensors/model.safetensors", "images.npy"),
}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The old files, unpacked, with the cache that was filled then; the folder is the working directory."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(FILES) as archive:
        archive.extractall(folder, filter="data")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNRUN_CACHE", str(folder / "cache"))
        yield folder
    sys.modules.pop("mynet", None)  # other tests have one of that name


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def assert_same_metrics(new: dict[str, float], then: dict[str, float]) -> None:
    """Another processor's last bits apart. One sample in another part, or read otherwise, is far outside of that."""
    assert new.keys() == then.keys()
    for name, value in then.items():
        assert math.isclose(new[name], value, rel_tol=1e-4, abs_tol=1e-6), name


@pytest.mark.parametrize("run", RUNS)
def test_an_old_run_is_evaluated_on_the_samples_of_its_own_hold_out(old: Path, run: str) -> None:
    assert main([f"ckpt={run}", *RUNS[run], f"hydra.run.dir=now/{run}"]) == 0
    assert_same_metrics(results(old / "now" / run)["metrics"], results(old / "evaluated" / run)["metrics"])
    then, now = (results(old / at / run)["details"]["test"]["per_class"] for at in ("evaluated", "now"))
    assert [row["class"] for row in now] == [row["class"] for row in then]
    assert [row["samples"] for row in now] == [row["samples"] for row in then]


@pytest.mark.parametrize("name", PREDICTED)
def test_old_networks_and_artifacts_predict_as_they_did(old: Path, name: str) -> None:
    path, images = PREDICTED[name]
    assert main(["task=predict", f"ckpt={path}", f"input={images}", f"hydra.run.dir=now/predicted_{name}"]) == 0
    tables = []
    for folder in (old / "predicted" / name, old / "now" / f"predicted_{name}"):
        with (folder / "predictions.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    then, now = tables
    # Which of two rows comes first may change; what is said of a picture may not.
    key = "path" if "path" in then[0] else next(iter(then[0]))
    said = {row[key]: row for row in now}
    assert len(said) == len(then)
    for row in then:
        assert said[row[key]]["class"] == row["class"]
        assert math.isclose(float(said[row[key]]["probability"]), float(row["probability"]), rel_tol=1e-4)


def test_an_old_interrupted_run_is_resumed_to_where_it_would_have_come(old: Path) -> None:
    shutil.copytree(old / "interrupted", old / "now" / "resumed")
    assert main(["resume=now/resumed"]) == 0
    assert_same_metrics(results(old / "now" / "resumed")["metrics"], results(old / "uninterrupted")["metrics"])


@pytest.mark.parametrize("path", ["mlp", "mlp/exports/safetensors/model.safetensors", "cnn_ema"])
def test_python_loads_old_files(old: Path, path: str) -> None:
    network = nnrun.load(path)
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    assert network(network.preprocessing(images)).shape == (2, 10)
    assert tuple(network.class_names) == tuple("0123456789")


@pytest.mark.parametrize(
    ("word", "more"),
    [
        ("init_from=mlp", ("model=mlp", "model.hidden=[2]")),
        ("init_from=arrays/exports/safetensors/model.safetensors", ("data=arrays", "data.root=arrays.npz")),
        ("transfer.weights=cnn_ema", ("model=cnn", "model.channels=[2,3]", "model.hidden=4", "model.batchnorm=true")),
    ],
)
def test_new_runs_start_from_old_weights(old: Path, word: str, more: tuple[str, ...]) -> None:
    words = [word, *more, "trainer.epochs=1", "data.batch_size=8", "export=none", "trainer.progress=false"]
    if "arrays" in word:
        words += ["model=mlp", "model.hidden=[4]"]
    elif "data=" not in " ".join(more):
        words.append("data.limit=64")
    assert main([*words, f"hydra.run.dir=now/from_{abs(hash(word))}"]) == 0
