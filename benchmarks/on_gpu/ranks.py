"""Several processes that train together: on one GPU over gloo, on several over NCCL; the losses of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

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
    """Run a command in a process of its own: this one may have used the device. Raise RuntimeError if it fails."""
    command = [sys.executable, "-m", "nnrun", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")


def _losses(place: Place, name: str) -> list[float]:
    """Return the loss of each step of a run."""
    lines = (place.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if row["split"] == "train"]
