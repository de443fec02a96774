"""Compare a search of MNIST's CNN that ends bad jobs early with random search, and with Optuna around commands.

    make bench-search                          five seeds of the search, on stdout
    make bench-search ARGS="--write"           also into docs/sweeps.md
    python benchmarks/search.py --quick        a smoke test of the benchmark itself

Learning rate, weight decay, dropout, width, batch size and schedule are searched. For each seed, `ours` is so many jobs
of sweep=tpe with sweep.prune=asha; `random` is sweep=random without pruning, which starts jobs for as long as `ours`
took (those that run then are finished, and count); `stock` is what a script would do: Optuna asks, a command trains to
its end, Optuna is told. It runs for as long too. The best value of the monitored validation metric counts.

The exit code is 1 if a command failed, whatever the figures are.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import default_root, say
from command import nnrun
from machine import OtherWork, machine
from report import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sweeps.md"
BEGIN, END = "<!-- made by make bench-search -->\n", "<!-- end -->\n"
METRIC = "valid/accuracy"
SPACE = (
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
    "optimizer.weight_decay=tag(log,interval(1e-5,1))",
    "model.dropout=interval(0,0.6)",
    "model.width=tag(log,interval(0.25,1))",
    "data.batch_size=32,64,128,256",
    "scheduler=none,cosine,onecycle",
)
JOB = (
    *("model=cnn", "data=mnist", "optimizer=adamw", "export=none", "report=none", "trainer.progress=false"),
    *(f"early_stopping.monitor={METRIC}", "data.val_fraction=0.4"),
)


@dataclass(frozen=True)
class Found:
    """What a search reached: the best accuracy in percent, the jobs that it began and finished, and its seconds."""

    best: float
    begun: int
    finished: int
    seconds: float


def sweep(words: Sequence[str], scratch: Path, name: str) -> Found:
    """Run a search, and return what it reached."""
    folder = scratch / name
    seconds = nnrun(["-m", *words, *SPACE, f"hydra.sweep.dir={folder}"], scratch)
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    finished = [row for row in rows if row["state"] == "finished"]
    best = max((float(row[METRIC]) for row in finished), default=0.0)
    return Found(100 * best, len(rows), len(finished), seconds)


def stock(words: Sequence[str], seed: int, limit: float, scratch: Path) -> Found:
    """Let Optuna ask, and a command train, as long as there is time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < limit:
        trial = study.ask()
        chosen = {
            "optimizer.lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
            "optimizer.weight_decay": trial.suggest_float("weight_decay", 1e-5, 1, log=True),
            "model.dropout": trial.suggest_float("dropout", 0, 0.6),
            "model.width": trial.suggest_float("width", 0.25, 1, log=True),
            "data.batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
            "scheduler": trial.suggest_categorical("scheduler", ["none", "cosine", "onecycle"]),
        }
        directory = scratch / f"stock{number}"
        nnrun([*words, *(f"{key}={value}" for key, value in chosen.items()), f"hydra.run.dir={directory}"], scratch)
        metrics = json.loads((directory / "summary.json").read_text(encoding="utf-8"))["metrics"]
        study.tell(trial, metrics[METRIC])
        number += 1
    return Found(100 * study.best_value, number, number, time.perf_counter() - start)


def measure(seed: int, options: argparse.Namespace) -> dict[str, Found]:
    """Run each way to search with a seed of its own; the training's seed is the same for all."""
    # No job stops by itself: only a search ends one early.
    length = [f"trainer.epochs={options.epochs}", f"early_stopping.patience={options.epochs - 1}"]
    job = [*JOB, *length, f"data.limit={options.limit}", f"data.root={options.root}"]
    side = [*job, f"sweep.parallel={options.parallel}", f"sweep.seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ours = sweep(["sweep=tpe", "sweep.prune=asha", f"sweep.trials={options.trials}", *side], scratch, "ours")
        minutes = f"sweep.minutes={ours.seconds / 60:.4f}"
        found = {"ours": ours, "random": sweep(["sweep=random", minutes, *side], scratch, "random")}
        if not options.without_stock:
            found["stock"] = stock(job, seed, ours.seconds, scratch)
    return found


def text_of(rounds: Sequence[dict[str, Found]], options: argparse.Namespace, conditions: str) -> str:
    """Return the table, and how it was measured."""
    rows = []
    titles = {
        "ours": f"`sweep=tpe sweep.prune=asha`, {options.trials} jobs",
        "random": "`sweep=random`, the same time",
        "stock": "Optuna around commands, the same time",
    }
    for name in rounds[0]:
        runs = [one[name] for one in rounds]
        best = [run.best for run in runs]
        begun, finished, seconds = (
            statistics.mean(getattr(run, part) for run in runs) for part in ("begun", "finished", "seconds")
        )
        spread = f"{statistics.mean(best):.2f} ({min(best):.2f} to {max(best):.2f})"
        rows.append([titles[name], spread, *(f"{value:.0f}" for value in (begun, finished, seconds))])
    header = ["", f"best {METRIC}, %", "jobs begun", "jobs finished", "seconds"]
    wins = sum(one["ours"].best > one["random"].best for one in rounds)
    each = f"Mean over {len(rounds)} seeds of the search (min to max). With pruning it is ahead of random in {wins}."
    limits = f"trainer.epochs={options.epochs} data.limit={options.limit} sweep.parallel={options.parallel}"
    words = f"`{' '.join(JOB)} {limits}`; searched: `{shlex.join(SPACE)}`."
    return f"{table(header, rows)}\n\n{each} {words}\n\n{conditions}\n"


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write it to the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=default_root(), help="contains MNIST (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the search (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=30, help="jobs of the search (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=27, help="of a job that is not paused (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=1000, help="data.limit of each job (default: %(default)s)")
    parser.add_argument("--parallel", default="1", help="sweep.parallel (default: %(default)s)")
    parser.add_argument("--without-stock", action="store_true", help="leave out Optuna around commands")
    parser.add_argument("--quick", action="store_true", help="one seed, few and short jobs")
    parser.add_argument("--write", action="store_true", help=f"also write the figures to {PAGE.name}")
    options = parser.parse_args(arguments)
    if options.quick:
        if options.write:
            parser.error("--quick is only a smoke test, whose figures are not published: leave out --quick or --write")
        options.seeds, options.trials, options.epochs, options.limit = 1, 4, 2, 600
    options.root = options.root.resolve()
    other_work, rounds = OtherWork(), []
    for seed in range(options.seeds):
        rounds.append(measure(seed, options))
        say(f"seed {seed}: {rounds[-1]}")
    warning = " **`--quick` is a smoke test, not a measurement.**" if options.quick else ""
    text = text_of(rounds, options, f"{machine()}. {other_work.sentence()}{warning}")
    print(text, flush=True)
    if options.write:
        before, found, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        assert found, f"{PAGE} has no place for the figures: {BEGIN!r}"
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
