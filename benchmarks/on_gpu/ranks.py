"""Several processes that train together: on one GPU over gloo, on several over NCCL; the losses of one process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nnrun.base.guard import guard, watch
from nnrun.cli import main
from on_gpu.place import Place, Row, attempt
from on_gpu.runs import read

SHORT = (
    *("data=digits", "data.batch_size=40", "trainer.epochs=2", "trainer.log_every_steps=1", "trainer.precision=fp32"),
    *("trainer.threads=1", "trainer.cuda_graph=false", "trainer.progress=false", "early_stopping=none"),
    *("export=none", "report=none"),
)
_DRY = ("data.limit=200", "trainer.max_steps=4")


def ranks(place: Place) -> Iterator[Row]:
    """Runs by one process and by two; the largest relative difference of a training loss from that of one."""
    one = str(place.device)
    yield "1 process", attempt(partial(_figures, place, "one", one, 1))
    yield "2 processes on one device, over gloo", attempt(partial(_figures, place, "shared", one, 2))
    count = torch.cuda.device_count() if place.on_gpu else 1
    if count > 1:
        yield "2 processes on two GPUs, over NCCL", attempt(partial(_figures, place, "own", "cuda", 2))
    else:
        yield "2 processes on two GPUs, over NCCL", {"left_out": "there is one device"}


def _figures(place: Place, name: str, device: str, size: int) -> dict[str, Any]:
    """Train; return the speed, and how far the losses are from those of one process. Raises RuntimeError."""
    words = [*SHORT, *(_DRY if place.dry else ()), f"trainer.device={device}", f"trainer.devices={size}"]
    _command([*words, f"hydra.run.dir={place.folder / name}"], place.folder)
    summary = read(place.folder / name / "summary.json")
    losses, alone = _losses(place, name), _losses(place, "one")
    if len(losses) != len(alone) or not losses:
        raise RuntimeError(f"{len(losses)} steps, and {len(alone)} of one process")
    difference = max(abs(ours - theirs) / abs(theirs) for ours, theirs in zip(losses, alone, strict=True))
    speed = summary["train"]["samples_per_second"]
    return {"steps": len(losses), "largest difference": difference, "samples/s": speed}


def _command(words: list[str], folder: Path) -> None:
    """Run a command in a fork of this process, which has not used the device; raise RuntimeError if it fails."""
    said = folder / "said"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(folder)
            descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            guard()
            watch()
            code = main(words)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise RuntimeError(f"exit code {code}: {said.read_text(encoding='utf-8').strip()[-300:]}")


def _losses(place: Place, name: str) -> list[float]:
    """Return the loss of each step of a run."""
    lines = (place.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if row["split"] == "train"]
