"""What a file says, by its kind: weights alone, weights with a model card, a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from nnrun.base.errors import ArtifactError
from nnrun.base.files import sha256_of
from nnrun.base.targets import Targets
from nnrun.checkpoints.foreign_weights import weights_for
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.model_card import CARD_NAME, FORMAT, SCHEMA
from nnrun.checkpoints.payload import Payload, with_schema
from nnrun.checkpoints.read import read_run, read_saved
from nnrun.checkpoints.saved_run import SavedNetwork, SavedRun, SavedWeights

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
CONFIG: dict[str, Any] = {
    "model": {"_target_": "nnrun.models.mlp.MLP"},
    "data": {"name": "digits"},
    "loss": {},
    "trainer": {"compile": False},
}
PREPROCESSING = {"_target_": "nnrun.data.normalize.Normalize", "mean": [0.5], "std": [1.0]}
PROGRESS = dict.fromkeys(("epoch", "batch", "step", "num_rows", "logged_step"), 0) | {"best": None, "stop_reason": None}
TARGETS = Targets("classes", ("a", "b"))
PAYLOAD: Payload = {
    "model": dict(WEIGHTS),
    "training": {"progress": PROGRESS},
    "config": CONFIG,
    "targets": TARGETS.to_plain(),
    "preprocessing": PREPROCESSING,
    "data_fingerprint": "f",
    "threads": 2,
}


def checkpoint(path: Path) -> Path:
    torch.save(with_schema(PAYLOAD), path)
    return path


def weights_alone(path: Path) -> Path:
    torch.save({"epoch": 3, "ema": dict(WEIGHTS), "model": dict(WEIGHTS)}, path)
    return path


def exported(folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_file(WEIGHTS, path)
    card = {"format": FORMAT, "version": SCHEMA, "sha256": sha256_of(path), "class_names": ["a", "b"]}
    (folder / CARD_NAME).write_text(json.dumps(card | {"config": CONFIG, "preprocessing": PREPROCESSING}))
    return path


def test_a_checkpoint_says_all_of_its_run_with_classes_as_they_are_called_now(tmp_path: Path) -> None:
    saved = read_saved(locate(checkpoint(tmp_path / "x.ckpt"), "best"))
    assert isinstance(saved, SavedRun)
    assert saved.config["model"]["_target_"] == "nnrun.components.models.mlp.MLP"
    assert saved.preprocessing["_target_"] == "nnrun.components.data.normalize.Normalize"
    assert (saved.targets, saved.data_fingerprint, saved.threads, saved.seen) == (TARGETS, "f", 2, None)
    assert (saved.progress, saved.run) == (PROGRESS, tmp_path)
    assert {name: item.shape for name, item in saved.weights.items()} == {"weight": (2, 3), "bias": (2,)}


def test_exported_weights_say_what_their_card_says_and_nothing_of_a_run(tmp_path: Path) -> None:
    saved = read_saved(locate(exported(tmp_path), "best"))
    assert isinstance(saved, SavedNetwork)
    assert not isinstance(saved, SavedRun)
    assert saved.targets == TARGETS
    assert saved.config["model"]["_target_"] == "nnrun.components.models.mlp.MLP"
    assert saved.weights.keys() == WEIGHTS.keys()


def test_weights_alone_say_nothing_of_targets_and_the_usual_place_comes_first(tmp_path: Path) -> None:
    saved = read_saved(locate(weights_alone(tmp_path / "x.pth"), "best"))
    assert type(saved) is SavedWeights
    assert (saved.targets, list(saved.groups)) == (None, [("model",), ("ema",)])


def test_what_is_resumed_must_be_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a checkpoint of nnrun but weights alone"):
        read_run(locate(weights_alone(tmp_path / "x.pth"), "best"))


def test_whatever_the_file_its_weights_are_asked_for_in_one_way(tmp_path: Path) -> None:
    (tmp_path / "exported").mkdir()
    files = (checkpoint(tmp_path / "x.ckpt"), weights_alone(tmp_path / "x.pth"), exported(tmp_path / "exported"))
    for path in files:
        weights, _ = weights_for(torch.nn.Linear(3, 2), read_saved(locate(path, "best")))
        assert weights.keys() == WEIGHTS.keys()
        assert all(torch.equal(weights[name], tensor) for name, tensor in WEIGHTS.items())
