"""`nnrun.compose`: the checked config of some words, as plain values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nnrun
from nnrun.api import ConfigError
from support.command_line import OWN, environment, write_files


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_gives_plain_values_that_are_a_copy() -> None:
    config = nnrun.compose(["model=cnn", "optimizer.lr=1e-2", "export=[onnx,pt2]", "seed=3", "trainer.epochs=2"])
    assert (config["optimizer"]["lr"], config["seed"], config["trainer"]["epochs"]) == (0.01, 3, 2)
    assert list(config["export"]) == ["onnx", "pt2"]
    assert type(config["optimizer"]) is dict and type(config["model"]["channels"]) is list
    config["optimizer"]["lr"] = 7
    assert nnrun.compose(["model=cnn"])["optimizer"]["lr"] == 0.001


def test_a_text_is_split_as_a_shell_does_and_a_path_is_a_word() -> None:
    wanted = nnrun.compose(["data=folder", "data.root=my photos", "model=mlp"])
    assert nnrun.compose("data=folder 'data.root=my photos' model=mlp") == wanted
    assert nnrun.compose(("data=folder", Path("data.root=my photos"), "model=mlp")) == wanted
    with pytest.raises(ConfigError, match="3 is not a string or a path"):
        nnrun.compose([3])  # type: ignore[list-item]


def test_what_only_the_data_decides_stays_a_reference_and_all_else_is_resolved(tmp_path: Path) -> None:
    files = {
        "conf/model/mynet.yaml": OWN["conf/model/mynet.yaml"]
        + "halved: ${model.hidden}\nby: [1, '${data.num_classes}']\n"
    }
    write_files(tmp_path, files)
    config = nnrun.compose("model=mynet model.hidden=8 data=folder data.root=${oc.env:HOME}")
    assert config["model"] == {
        "_target_": "mynet.MyNet",
        "in_shape": "${data.in_shape}",
        "num_classes": "${data.num_classes}",
        "hidden": 8,
        "halved": 8,
        "by": [1, "${data.num_classes}"],
    }
    assert config["data"]["num_classes"] is None
    assert config["data"]["root"] == str(Path.home())


def test_of_a_run_it_is_what_the_run_was() -> None:
    run = nnrun.run(["trainer=debug", "data.limit=200", "model=mlp", "export=none"], quiet=True).run
    config = nnrun.compose([f"ckpt={run}"])
    assert config["model"]["in_shape"] == [1, 28, 28] and config["data"]["num_classes"] == 10


def test_all_that_is_wrong_is_raised_together_with_the_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        nnrun.compose(["modle=cnn", "optimizer.lr=-1", "trainer.epoch=3"])
    assert {complaint.key for complaint in caught.value.complaints} == {"modle", "optimizer.lr", "trainer.epoch"}
    assert "did you mean 'model'?" in str(caught.value)


def test_it_needs_no_torch_nor_does_the_package(tmp_path: Path) -> None:
    """Negative control: a name of the seams does."""
    source = """
import sys, nnrun, nnrun.api
nnrun.compose(["model=cnn"])
print("torch" in sys.modules)
nnrun.api.Split
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.split() == ["False", "True"]
