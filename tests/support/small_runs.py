"""What the tests of stopping and resuming share: small runs, where they stop, what they leave, how it is damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from nnrun.base.errors import InterruptedRun
from nnrun.base.signals import StopRequest
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.cli import main

# 163 training samples in 6 batches, the last of them of 13; 37 for validation in 3 batches; dropout is in the network.
WORDS = (
    "model=mlp",
    "data.limit=200",
    "data.val_fraction=0.2",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "trainer.epochs=3",
    "trainer.log_every_steps=2",
    "trainer.progress=false",
    "export=none",
    "report=none",
)
STEPS, VALID_BATCHES = 6, 3
POLLS = STEPS + VALID_BATCHES
# Where a run is stopped, as the number of the poll, from 1, that sees the signal.
STOPS = {
    "first step": 1,
    "mid-epoch": POLLS + 3,
    "an epoch's last step": POLLS + STEPS,
    "in a validation": POLLS + STEPS + 2,
    "an epoch's last validation batch": 2 * POLLS,
    "last epoch": 2 * POLLS + 3,
    "the final measuring": 3 * POLLS + 2,
}


@contextlib.contextmanager
def stop_at(poll: int | None) -> Iterator[None]:
    """Let a SIGTERM come at a poll: the same point in every test run, unlike a signal."""
    original, left = StopRequest.poll, poll

    def counted(request: StopRequest) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise InterruptedRun(signal.SIGTERM)
        original(request)

    StopRequest.poll = counted
    try:
        yield
    finally:
        StopRequest.poll = original


def train(run: Path, *words: str, stop: int | None = None) -> int:
    """Train in a directory, stopped at a poll where one is given; return the exit code."""
    with contextlib.chdir(run.parent), stop_at(stop):
        return main([*WORDS, *words, f"hydra.run.dir={run}"])


def resume(run: Path, *words: str, stop: int | None = None) -> int:
    """Go on in a directory, likewise."""
    with contextlib.chdir(run.parent), stop_at(stop):
        return main([f"resume={run}", *words])


def manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "checkpoints" / "manifest.json").read_text())


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())


def assert_same_bits(run: Path, other: Path) -> None:
    """Their metrics byte for byte, and their checkpoints, whose names are their hashes."""
    assert (run / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    ours, theirs = manifest(run), manifest(other)
    assert (ours["best"], ours["last"]) == (theirs["best"], theirs["last"])
    # The checkpoint of the stop itself takes a place among the newest: one side may have fewer of a step.
    for step in {entry["step"] for entry in ours["files"]} & {entry["step"] for entry in theirs["files"]}:
        names = [{entry["name"] for entry in side["files"] if entry["step"] == step} for side in (ours, theirs)]
        assert names[0] <= names[1] or names[1] <= names[0]
    for result in ("metrics", "best"):
        assert summary(run)[result] == summary(other)[result]


def assert_whole(run: Path) -> None:
    """Every checkpoint that the manifest names is there, with the bytes that it was saved with."""
    files = manifest(run)["files"]
    assert files
    for entry in files:
        content = (run / "checkpoints" / entry["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def tamper(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the training's state in the last checkpoint, and save it as a proper one."""
    path = run / "checkpoints" / manifest(run)["last"]
    payload = torch.load(path, weights_only=True)
    change(payload["training"])
    del payload["schema"]
    folder = CheckpointFolder(run, keep_last=2)
    folder.save(payload, payload["training"]["progress"]["step"], is_best=False)
    assert folder.manifest.last != path.name
