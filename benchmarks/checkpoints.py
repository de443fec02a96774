"""Measure the cost of saving: ResNet-18 with Adam, whose checkpoint has 134 MB, with few samples per epoch.

    make bench-checkpoints                                              3 rounds of 3 epochs of 1,000 images of 32x32
    make bench-checkpoints ARGS="--beside ../before/.venv/bin/nnrun"    another version too, in turn
    make bench-checkpoints ARGS="--model cnn"                           a checkpoint of 3 MB

"waits" is the time that training waited for saves, also as a fraction of the training; "background" is the time of
writing meanwhile; "training" is the whole training, including validation; "samples/s" covers the steps, which the
writing slows down. All are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from machine import OtherWork, machine
from report import table

HERE = Path(sys.executable).with_name("nnrun")
NUM_TESTED, SIDE, NUM_CLASSES = 100, 32, 10
COLUMNS = ["program", "waits, s", "of the training", "background, s", "training, s", "samples/s"]


def main() -> None:
    """Train in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="other versions' nnrun")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--samples", type=int, default=1000, help="per epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    other, programs = OtherWork(), [path.absolute() for path in (*args.beside, HERE)]
    with tempfile.TemporaryDirectory() as scratch:
        images = write_images(Path(scratch), args.samples)
        words = [f"model={args.model}", "data=arrays", f"data.root={images}", f"trainer.epochs={args.epochs}"]
        rounds = [[train(program, words, Path(scratch)) for program in programs] for _ in range(args.rounds)]
    medians = [[statistics.median(column) for column in zip(*runs, strict=True)] for runs in zip(*rounds, strict=True)]
    rows = [
        [str(program), f"{waits:.2f}", f"{fraction:.1%}", f"{beside:.2f}", f"{whole:.1f}", f"{speed:,.0f}"]
        for program, (waits, fraction, beside, whole, speed) in zip(programs, medians, strict=True)
    ]
    print(table(COLUMNS, rows))
    print(f"\n{machine()}. {other.sentence()}")


def write_images(folder: Path, num_samples: int) -> Path:
    """Write random images with random classes, and return the file."""
    draws = np.random.default_rng(0)
    parts = {"train": num_samples, "valid": NUM_TESTED, "test": NUM_TESTED}
    arrays: dict[str, Any] = {}
    for part, number in parts.items():
        arrays[f"x_{part}"] = draws.integers(256, size=(number, 3, SIDE, SIDE), dtype=np.uint8)
        arrays[f"y_{part}"] = draws.integers(NUM_CLASSES, size=number)
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def train(program: Path, words: list[str], folder: Path) -> tuple[float, float, float, float, float]:
    """Return the seconds of waiting, their fraction of the training, the background's, the training's; samples/s."""
    run = Path(tempfile.mkdtemp(dir=folder))
    words = [*words, "data.batch_size=50", "export=none", "early_stopping=none", "trainer.progress=false"]
    subprocess.run([program, *words, f"hydra.run.dir={run}"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    told = json.loads((run / "summary.json").read_text())["train"]
    waits, fraction = told["checkpoint_seconds"], told["checkpoint_fraction"]
    beside = told.get("checkpoint_background_seconds", 0.0)
    return waits, fraction, beside, waits / fraction, told["samples_per_second"]


if __name__ == "__main__":
    main()
