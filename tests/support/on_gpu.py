"""What the tests of a GPU share: runs on it, and the parts of `make gpu`, which measure the same settings."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from nnrun.cli import main
from support.small_runs import stop_at

# cuBLAS reads it once, at its first product in this process.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

CUDA = torch.device("cuda", 0)
WORDS = (f"trainer.device={CUDA.type}", "trainer.progress=false")
SMALL = (
    "model=mlp",
    "data.limit=200",
    "data.val_fraction=0.2",
    "trainer.epochs=3",
    "export=none",
    "data.batch_size=30",
)


def train(run: Path, *words: str) -> int:
    with contextlib.chdir(run.parent):
        return main([*WORDS, *words, f"hydra.run.dir={run}"])


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def last(run: Path) -> dict:
    name = read(run / "checkpoints/manifest.json")["last"]
    return torch.load(run / "checkpoints" / name, weights_only=True)


def has_bf16() -> bool:
    return torch.cuda.get_device_capability(0) >= (8, 0)


def assert_resumed_to_the_same_bits(tmp_path: Path, words: Sequence[str]) -> None:
    """Negative control: another seed has other bits."""
    words = [*SMALL, "trainer.deterministic=true", "trainer.log_every_steps=2", *words]
    assert train(tmp_path / "whole", *words) == 0
    with stop_at(10):
        assert train(tmp_path / "run", *words) == 143
    with contextlib.chdir(tmp_path):
        assert main([f"resume={tmp_path / 'run'}"]) == 0
    assert train(tmp_path / "other", *words, "seed=1") == 0
    rows, names = {}, {}
    for name in ("whole", "run", "other"):
        rows[name] = (tmp_path / name / "metrics.jsonl").read_bytes()
        names[name] = read(tmp_path / name / "checkpoints/manifest.json")["last"]
    assert rows["run"] == rows["whole"]
    assert names["run"] == names["whole"]
    assert rows["other"] != rows["whole"]
