"""State dicts from elsewhere as `ckpt=` and `init_from=`: loaded strictly, or the first mismatches are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from support.command_line import run_here

# The tutorials' names for the layers of the same network.
TUTORIAL = [f"{layer}.{part}" for layer in ("conv1", "conv2", "fc1", "fc2") for part in ("weight", "bias")]
SHORT = ("model.channels=[4,8]", "model.hidden=16", "data.limit=200", "export=none")


class WithStatistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its weights, and its test metrics."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["model=cnn", "trainer=debug", "trainer.progress=false", *SHORT, "hydra.run.dir=run"]
    assert run_here(words, folder).code == 0
    manifest = json.loads((folder / "run/checkpoints/manifest.json").read_text())
    payload = torch.load(folder / "run/checkpoints" / manifest["best"], weights_only=True)
    return folder / "run", payload["model"], json.loads((folder / "run/summary.json").read_text())["metrics"]


def under(names, weights):
    return dict(zip(names, weights.values(), strict=True))


FILES = {
    "plain": ("w.pth", lambda w: w, ""),
    "parameters": ("w.pth", lambda w: {name: nn.Parameter(tensor) for name, tensor in w.items()}, ""),
    "with more": ("w.pt", lambda w: {"model": w, "optimizer": {"state": {}}, "epoch": 3}, ""),
    "lightning": ("w.ckpt", lambda w: {"state_dict": {f"model.{k}": v for k, v in w.items()}}, "has 'model.' before"),
    "parallel": ("w.pth", lambda w: {f"module.{k}": v for k, v in w.items()}, "has 'module.' before every name"),
    "safetensors": ("w.safetensors", lambda w: w, ""),
    "tutorial": ("mnist_cnn.pth", lambda w: under(TUTORIAL, w), "conv1.weight as features.0.conv.weight"),
}


def save(value, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in value.items()}, path)
    else:
        torch.save(value, path)
    return path


@pytest.mark.parametrize("name", FILES)
def test_weights_from_elsewhere_are_evaluated_as_what_they_are(trained, tmp_path, name):
    """To the digit what the run itself measured. Negative control: other weights give other metrics."""
    _, weights, metrics = trained
    file, make, note = FILES[name]
    path = save(make(weights), tmp_path / file)
    done = run_here([f"ckpt={path}", "model=cnn", *SHORT[:-1], "hydra.run.dir=out"], tmp_path)
    assert (done.code, done.err) == (0, "")
    assert note in done.out and ("note: " in done.out) is bool(note)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["task"], summary["metrics"], summary["artifacts"]) == ("evaluate", metrics, {})
    other = save({key: -tensor for key, tensor in weights.items()}, tmp_path / "other.pth")
    assert run_here([f"ckpt={other}", "model=cnn", *SHORT, "hydra.run.dir=other"], tmp_path).code == 0
    assert json.loads((tmp_path / "other/summary.json").read_text())["metrics"] != metrics


def test_a_run_starts_from_them_and_exports_them(trained, tmp_path):
    run, weights, metrics = trained
    path = save(under(TUTORIAL, weights), tmp_path / "mnist_cnn.pth")
    words = ["trainer.epochs=0", *SHORT, "trainer.ema_decay=0.9"]
    for source, folder in ((path, "from_file"), (run, "from_run")):
        assert run_here([f"init_from={source}", *words, f"hydra.run.dir={folder}"], tmp_path).code == 0
        assert json.loads((tmp_path / folder / "summary.json").read_text())["metrics"] == metrics
    done = run_here([f"ckpt={path}", "model=cnn", *SHORT[:-1], "export=onnx", "hydra.run.dir=out"], tmp_path)
    assert done.code == 0
    assert json.loads((tmp_path / "out/exports/onnx/verification.json").read_text())["ok"]


def _old(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


REFUSED = {
    "no model named": (save, [], 2, "holds only weights: give their network and data with model="),
    "another network": (save, ["model=mlp"], 4, "does not fit the network"),
    "a weight less": (lambda w, p: save(dict(list(w.items())[:-1]), p), ["model=cnn"], 4, "head.bias is missing"),
    "a weight more": (lambda w, p: save(w | {"x": w["head.bias"]}, p), ["model=cnn"], 4, "x is not in this network"),
    "another shape": (
        lambda w, p: save(w | {"head.bias": torch.zeros(7)}, p),
        ["model=cnn"],
        4,
        "head.bias is (7,), but the network needs (10,)",
    ),
    "no name matches": (
        lambda w, p: save(WithStatistics().state_dict(), p),
        ["model=cnn"],
        4,
        "none of its names are the network's: it has layer.weight",
    ),
    "NaN": (lambda w, p: save(w | {"head.bias": torch.full((10,), float("nan"))}, p), ["model=cnn"], 4, "NaN"),
    "a pickled network": (lambda w, p: save(nn.Linear(2, 2), p), ["model=cnn"], 4, "torch.nn.modules.linear.Linear"),
    "torch's old format": (_old, ["model=cnn"], 4, "is a bare pickle"),
    "cut off": (lambda w, p: (save(w, p), p.write_bytes(p.read_bytes()[:900])), ["model=cnn"], 4, "w.pth"),
    "no weights in it": (lambda w, p: save({"epoch": 3}, p), ["model=cnn"], 4, "is not a checkpoint of nnrun"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("key", ["ckpt", "init_from"])
def test_what_does_not_fit_is_refused_with_the_reason(trained, tmp_path, name, key):
    make, words, code, says = REFUSED[name]
    if key == "init_from" and name == "no model named":
        return  # the config has a model of its own
    path = tmp_path / "w.pth"
    make(trained[1], path)
    before = path.read_bytes()
    small = [] if "model=mlp" in words else SHORT[:2]
    done = run_here([f"{key}={path}", *words, *small, *SHORT[2:], "trainer.epochs=0"], tmp_path)
    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert path.read_bytes() == before


def test_a_truncated_safetensors_file_is_refused(trained, tmp_path):
    path = save(trained[1], tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    done = run_here([f"ckpt={path}", "model=cnn"], tmp_path)
    assert (done.code, "cannot be read as safetensors" in done.err) == (4, True)
