"""trainer.recompute: a run is the same run, resumes, and says what it saves."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch

from nnrun.assembly import recomputation
from nnrun.cli import main
from support.small_runs import train

RUN = ("data.limit=200", "trainer.epochs=2", "trainer.log_every_steps=2", "model=cnn", "model.batchnorm=true", "seed=3")


def saved(run) -> dict:
    last = json.loads((run / "checkpoints/manifest.json").read_text())["last"]
    return torch.load(run / "checkpoints" / last, weights_only=True)


def test_a_run_has_the_same_bits_stopped_and_resumed_too(tmp_path, capsys):
    assert train(tmp_path / "plain", *RUN) == 0
    capsys.readouterr()
    assert train(tmp_path / "run", *RUN, "trainer.recompute=[features.*]", stop=5) == 143
    said = capsys.readouterr().out
    assert "activations of 2 layers are computed again (features.0, features.1): a batch of " in said
    assert "% more FLOPs (measured with 8 samples)" in said
    with contextlib.chdir(tmp_path):
        assert main([f"resume={tmp_path / 'run'}"]) == 0
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (tmp_path / "plain/metrics.jsonl").read_bytes()
    ours, theirs = saved(tmp_path / "run"), saved(tmp_path / "plain")
    assert ours["config"]["trainer"]["recompute"] == ["features.*"]
    assert ours["model"].keys() == theirs["model"].keys()
    assert all(torch.equal(value, theirs["model"][name]) for name, value in ours["model"].items())


def test_auto_decides_by_the_memory_that_is_free_and_says_so(tmp_path, capsys, monkeypatch):
    for free, is_short, says in ((10**4, True, "are computed again"), (10**12, False, "all activations are kept")):
        monkeypatch.setattr(recomputation, "available_bytes", lambda free=free: free)
        run = tmp_path / str(is_short)
        assert train(run, *RUN, "trainer.recompute=auto", "trainer.max_steps=1") == 0
        said = capsys.readouterr().out
        assert says in said
        assert "beside the weights (measured with 8 samples), " in said
        assert saved(run)["config"]["trainer"]["recompute"] is is_short


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trainer.recompute=[featurs]"], "no layer of the network is called featurs; did you mean 'features'"),
        (["trainer.recompute=3"], "trainer.recompute is 3; allowed: true, false, auto, or names of layers"),
    ],
)
def test_what_is_no_layer_is_named(tmp_path, capsys, words, says):
    assert train(tmp_path / "run", *RUN, *words) == 2
    assert says in capsys.readouterr().err


def test_an_inspection_counts_what_is_kept(tmp_path, capsys):
    kept = {}
    for name in ("false", "true"):
        words = ["task=inspect", *RUN[:1], *RUN[3:], f"trainer.recompute={name}", f"hydra.run.dir={tmp_path / name}"]
        with contextlib.chdir(tmp_path):
            assert main(words) == 0
        found = json.loads((tmp_path / name / "inspect.json").read_text())
        kept[name] = found["memory_bytes"]["activations"], found["flops"]["forward"], found["flops"]["backward"]
        assert {layer["calls"] for layer in found["layers"]} == {1}
    # The lines of the table are wrapped.
    assert "what a layer computes again (trainer.recompute)" in " ".join(capsys.readouterr().out.split())
    assert kept["true"][0] < kept["false"][0] / 2
    assert kept["true"][1] == kept["false"][1]
    assert kept["true"][2] > kept["false"][2]
