"""trainer.compile=true in whole runs: it trains, keeps its key names, and goes on to the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_run
from support.small_runs import STEPS, assert_same_bits, manifest, resume, train

WORDS = ("trainer.compile=true", "trainer.epochs=2", "model.hidden=[8]")


def test_a_compiled_run_is_resumed_to_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped in a validation, so that the resumed run begins with one, of another batch size than the training's.

    Negative control: without compiling, dropout draws other numbers, and the metrics are others.
    """
    whole, run, plain = tmp_path / "whole", tmp_path / "run", tmp_path / "plain"
    assert train(whole, *WORDS) == 0
    assert "compiled in " in capsys.readouterr().out
    saved = torch.load(locate(whole, "last").path, weights_only=True)
    assert list(saved["model"]) == ["hidden.0.linear.weight", "hidden.0.linear.bias", "head.weight", "head.bias"]
    assert train(run, *WORDS, stop=STEPS + 2) == 143
    assert resume(Path(shutil.copytree(run, tmp_path / "other")), "trainer.compile=false") == 2
    assert "trainer.compile: True -> False" in capsys.readouterr().err
    assert resume(run, "trainer.compile=auto") == 0, "auto is what it became"
    assert_same_bits(run, whole)
    assert train(plain, *WORDS, "trainer.compile=false") == 0
    assert (plain / "metrics.jsonl").read_bytes() != (whole / "metrics.jsonl").read_bytes()
    assert manifest(plain)["last"] != manifest(whole)["last"]


def test_auto_on_a_cpu_does_not_compile_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", "trainer.compile=auto", "trainer.device=cpu", "trainer.max_steps=1") == 0
    assert "not compiled (auto: on cpu the speedup seldom pays for the compile time)" in capsys.readouterr().out
    assert read_run(locate(tmp_path / "run", "last")).config["trainer"]["compile"] is False
