"""Measure whether loggers slow the steps of a training: none, csv, tensorboard, mlflow, wandb, and one that hangs.

    make bench-loggers                              8 rounds of an MLP on the digits, 25 epochs
    make bench-loggers ARGS="--rounds 3"

In each round every variant trains once, in one process, in an order that rotates. "steps/s" counts the steps alone, as
summary.json does; "of none" is the median of the ratios to the run without a logger of the same round, with the
smallest and the largest. A row is logged for every tenth step. What a logger costs at the start and at the end of a run
is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path

import nnrun
from machine import OtherWork, machine
from report import table

HANGING = """
import time


class Hanging:
    finish_seconds = 0.2

    def start(self, run):
        pass

    def log(self, step, values):
        time.sleep(3600)

    def finish(self, summary):
        pass
"""
VARIANTS = {
    "none": ["logger=none"],
    "csv": ["logger=csv"],
    "tensorboard": ["logger=tensorboard"],
    "mlflow (SQLite)": ["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:///mlflow.db"],
    "wandb (offline)": ["logger=wandb", "logger.wandb.mode=offline"],
    "one that hangs": ["logger=hanging"],
}
COLUMNS = ["logger", "steps/s", "of none", "smallest", "largest"]


def main() -> None:
    """Train in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=25)
    args = parser.parse_args()
    other, names = OtherWork(), list(VARIANTS)
    speeds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, contextlib.chdir(scratch):
        write_logger(Path(scratch))
        train("warm_up", [], 2)
        for number in range(args.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                speeds[name].append(train(f"{number}_{names.index(name)}", VARIANTS[name], args.epochs))
    rows = []
    for name, found in speeds.items():
        ratios = [speed / none for speed, none in zip(found, speeds["none"], strict=True)]
        rows.append(
            [name, f"{statistics.median(found):,.0f}", f"{statistics.median(ratios):.3f}"]
            + [f"{extreme(ratios):.3f}" for extreme in (min, max)]
        )
    print(table(COLUMNS, rows))
    print(f"\n{args.rounds} rounds of {args.epochs} epochs. {machine()}. {other.sentence()}")


def write_logger(folder: Path) -> None:
    """Write a logger that hangs in its first call of log, and its option."""
    (folder / "conf" / "logger").mkdir(parents=True)
    (folder / "hanging.py").write_text(HANGING)
    (folder / "conf" / "logger" / "hanging.yaml").write_text("# @package logger.hanging\n_target_: hanging.Hanging\n")


def train(name: str, words: list[str], num_epochs: int) -> float:
    """Return the steps per second of a run."""
    fixed = ["model=mlp", "export=none", "report=none", "early_stopping=none", "trainer.log_every_steps=10"]
    told = nnrun.run([*words, *fixed, f"trainer.epochs={num_epochs}", f"hydra.run.dir=runs/{name}"], quiet=True).train
    return float(told["steps"] / told["seconds"])


if __name__ == "__main__":
    main()
