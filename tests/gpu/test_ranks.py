"""Several processes on GPUs: parts of a network on each, and one GPU for two."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from support.command_line import NNRUN, environment
from support.on_gpu import SMALL, last

pytestmark = pytest.mark.gpu

TWO = ("trainer.devices=2", "trainer.precision=fp32", "trainer.log_every_steps=1")


def losses_of(run: Path, *words: str) -> list[float]:
    """The training losses of a run by a command of its own, which can be divided."""
    command = [*NNRUN, *SMALL, *words, f"hydra.run.dir={run}"]
    done = subprocess.run(
        command, cwd=run.parent, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["split"] == "train"]


def test_two_processes_share_a_gpu_but_not_the_parts_of_a_network(tmp_path: Path) -> None:
    one = losses_of(tmp_path / "one", "trainer.device=cuda:0", *TWO[1:])
    assert losses_of(tmp_path / "two", "trainer.device=cuda:0", *TWO) == pytest.approx(one, rel=1e-3)
    with pytest.raises(AssertionError, match=r"fsdp excludes trainer\.device=cuda:0"):
        losses_of(tmp_path / "parts", "trainer.device=cuda:0", *TWO, "trainer.strategy=fsdp")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_gpu_each_over_nccl_trains_as_one_does(tmp_path: Path, strategy: str) -> None:
    one = losses_of(tmp_path / "one", "trainer.device=cuda:0", *TWO[1:])
    words = (*TWO, "trainer.device=cuda", f"trainer.strategy={strategy}")
    assert losses_of(tmp_path / "two", *words) == pytest.approx(one, rel=1e-3)
    assert last(tmp_path / "two")["config"]["trainer"]["strategy"] == strategy
