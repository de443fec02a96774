"""Weights that nnrun exported, with model.json beside them, as `ckpt=` and for nnrun.load: a run again, and no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import nnrun
from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.model_card import PATH_LEFT_OUT
from nnrun.components.data.digits import Digits
from support.command_line import run_here
from support.small_runs import WORDS, flip, summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    done = run_here([*WORDS[:-1], "export=safetensors", "hydra.run.dir=run"], folder)
    assert (done.code, done.err) == (0, "")
    return folder / "run"


@pytest.fixture
def weights(run: Path, tmp_path: Path) -> Path:
    """A copy of the two files, and nothing else of the run."""
    folder = tmp_path / "à part = alone"
    shutil.copytree(run / "exports" / "safetensors", folder)
    return folder / "model.safetensors"


def test_exported_weights_are_evaluated_and_exported_as_the_run_is(run: Path, weights: Path, tmp_path: Path) -> None:
    for words in ([], ["export=onnx"]):
        new = tmp_path / f"new{len(words)}"
        done = run_here([*words, f"ckpt={weights}", f"hydra.run.dir={new}"], tmp_path)
        assert (done.code, done.err) == (0, "")
        assert summary(new)["metrics"] == summary(run)["metrics"]
        assert set(summary(new)["artifacts"]) == {word.removeprefix("export=") for word in words}


def test_load_gives_the_network_with_its_classes_and_its_preprocessing(run: Path, weights: Path) -> None:
    ours, theirs = nnrun.load(run), nnrun.load(weights)
    raw = Digits().load().test.inputs[:9]
    with torch.no_grad():
        assert torch.equal(ours(ours.preprocessing(raw)), theirs(theirs.preprocessing(raw)))
    assert theirs.class_names == tuple("0123456789")
    assert not theirs.training


def test_without_model_json_they_are_weights_from_elsewhere(weights: Path, tmp_path: Path) -> None:
    """So they are beside a file of this name that another tool wrote."""
    card = weights.with_name("model.json")
    for content in (None, "[1, 2", '{"format": "another"}'):
        card.unlink()
        if content is not None:
            card.write_text(content)
        done = run_here([f"ckpt={weights}"], tmp_path)
        assert done.code == 2
        assert "holds only weights: give their network and data with model=" in done.err
        card.touch()


def set_at(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(card: dict[str, Any]) -> None:
        for key in keys[:-1]:
            card = card[key]
        card[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_at("config", "model", "_target_", value="os.system"), "which nnrun does not ship"),
        (set_at("preprocessing", "_target_", value="os.system"), "which nnrun does not ship"),
        (set_at("config", "model", "hidden", value="${oc.env:HOME}"), "which would be interpolated"),
        (set_at("config", value=None), "is not a valid model card of nnrun"),
        (set_at("schema", value=2), "was written by a newer nnrun"),
        (set_at("targets", "kind", value="graphs"), "unknown kind 'graphs'"),
        (set_at("targets", "names", value="0123456789"), "targets is refused: it is not a list of strings"),
        (set_at("targets", "names", value=["\x1b[2J"] * 10), "targets is refused: it has a string with control"),
        (set_at("targets", "names", value=[*"9876543210"]), "its targets and its class_names have different names"),
        (set_at("class_names", value=[*"9876543210"]), "its targets and its class_names have different names"),
        (set_at("sha256", value="0" * 64), "is for other weights: the sha256 differs"),
        (set_at("config", "model", "hidden", value=json.loads("[" * 40 + "]" * 40)), "nested too deep"),
    ],
)
def test_a_strangers_model_json_does_nothing(weights: Path, tmp_path: Path, change, says: str) -> None:
    path = weights.with_name("model.json")
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    done = run_here([f"ckpt={weights}"], tmp_path)
    assert done.code == 4, done.err
    assert says in done.err
    with pytest.raises(ArtifactError, match=says):
        nnrun.load(weights)


def test_a_flipped_bit_is_found(weights: Path, tmp_path: Path) -> None:
    """safetensors itself reads most of them without a word."""
    flip(weights)
    done = run_here([f"ckpt={weights}"], tmp_path)
    assert done.code == 4
    assert "is damaged, or " in done.err


def test_the_folder_of_the_data_is_asked_for_where_the_export_left_it_out(weights: Path, tmp_path: Path) -> None:
    """A prediction reads no data, and does not ask: that is the negative control."""
    card = weights.with_name("model.json")
    value = json.loads(card.read_text())
    value["config"]["data"]["root"] = PATH_LEFT_OUT
    card.write_text(json.dumps(value))
    done = run_here([f"ckpt={weights}"], tmp_path)
    assert done.code == 2
    assert done.err == "nnrun: data.root is a path, which exported files do not store; give it again: data.root=\n"
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    done = run_here(["task=predict", f"ckpt={weights}", "input=a.png"], tmp_path)
    assert (done.code, done.err) == (0, "")
