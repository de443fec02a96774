"""Measure nnrun's networks for tables beside scikit-learn and LightGBM, all with defaults, on public tables.

    make bench-tables                                    written to docs/tables.md
    python benchmarks/tables.py --only cars wine         only these tables, on stdout
    python benchmarks/tables.py --inner --words trainer.epochs=100   choose defaults, without the test parts

For each seed, a fifth of a table is the test part, the same for all; the rest is for training, of which nnrun
holds its validation part out itself. With --inner, the test parts are left alone: a fifth of the rest takes their
place. The exit code is 1 if a run failed, whatever the figures are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import say
from machine import machine
from public_tables import TABLES, PublicTable
from report import table
from table_rivals import RIVALS, Parts, predictions, score

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tables.md"
BEGIN, END = "<!-- made by make bench-tables -->\n", "<!-- end -->\n"
OURS = ("tabular", "tabm")
TEST_FRACTION = 0.2
SECONDS = "The seconds are those of a thread on a machine that may do other work; the scores do not depend on it."


class Task(NamedTuple):
    """One training: by whom, of which table, with which seed and further words of nnrun's command line."""

    name: str
    table: str
    seed: int
    words: tuple[str, ...]
    is_inner: bool


class Result(NamedTuple):
    """The accuracy or R2 on the test part, and the seconds of training and prediction."""

    score: float
    seconds: float


def measured(task: Task) -> tuple[Task, Result]:
    """Train and test once, in a process of the pool."""
    from sklearn.model_selection import train_test_split

    about = next(of for of in TABLES if of.name == task.table)
    frame = about.frame()
    for seed in (task.seed, 0) if task.is_inner else (task.seed,):
        strata = frame[about.target] if about.is_classes else None
        frame, test = train_test_split(frame, test_size=TEST_FRACTION, random_state=seed, stratify=strata)
    start = time.perf_counter()
    if task.name in RIVALS:
        given = predictions(task.name, Parts(frame, test, about.target, about.is_classes), task.seed)
        found = score(test[about.target].to_numpy(), given, about.is_classes)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            frame.to_csv(Path(scratch) / "train.csv", index=False)
            test.to_csv(Path(scratch) / "test.csv", index=False)
            found = score_of_nnrun(task, about, Path(scratch))
    return task, Result(found, time.perf_counter() - start)


def words_of(name: str, about: PublicTable, seed: int) -> list[str]:
    """Return the command line of nnrun, without the places of files."""
    return ["data=table", f"data.target={about.target}", f"model={name}", f"seed={seed}"]


def score_of_nnrun(task: Task, about: PublicTable, folder: Path) -> float:
    """Train nnrun's network on the two files of a folder, and return its score on the test part."""
    import nnrun

    kind = "classes" if about.is_classes else "values"
    places = [f"data.root={folder}", f"hydra.run.dir={folder / 'run'}", f"data.targets={kind}"]
    fixed = ["export=none", "report=none", "trainer.threads=1", "trainer.device=cpu"]
    summary = nnrun.run([*words_of(task.name, about, task.seed), *places, *fixed, *task.words], quiet=True)
    return summary.metrics["test/accuracy" if about.is_classes else "test/r2"]


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the rank of each, 1 for the best; equal scores, to four digits, share the mean of their ranks."""
    rounded = {name: round(of, 4) for name, of in scores.items()}
    return {
        name: 1 + sum(of > own for of in rounded.values()) + (sum(of == own for of in rounded.values()) - 1) / 2
        for name, own in rounded.items()
    }


def text_of(results: Mapping[tuple[str, str], Sequence[Result]], names: Sequence[str], tables: Sequence[str]) -> str:
    """Return the table of mean scores, the best in bold, and below it that of mean ranks, wins and losses."""
    by_table = {of: {name: statistics.mean(r.score for r in results[name, of]) for name in names} for of in tables}
    ranked = {of: ranks(scores) for of, scores in by_table.items()}
    rows = []
    for about in TABLES:
        if about.name not in by_table:
            continue
        scores, frame = by_table[about.name], about.frame()
        best = max(round(of, 3) for of in scores.values())
        cells = [f"**{of:.3f}**" if round(of, 3) == best else f"{of:.3f}" for of in scores.values()]
        what = "accuracy" if about.is_classes else "R2"
        rows.append([about.name, about.source, f"{len(frame):,}", f"{frame.shape[1] - 1}", what, *cells])
    summary = []
    ours = [name for name in OURS if name in names]
    for name in names:
        mine = [of[name] for of in ranked.values()]
        against = []
        for other in ours:
            pairs = [(of[name], of[other]) for of in ranked.values()]
            wins, losses = sum(own < its for own, its in pairs), sum(own > its for own, its in pairs)
            against.append("" if other == name else f"{wins} : {losses}")
        seconds = statistics.mean(r.seconds for of in tables for r in results[name, of])
        firsts = sum(rank == min(of.values()) for rank, of in zip(mine, ranked.values(), strict=True))
        summary.append([name, f"{statistics.mean(mine):.2f}", str(firsts), *against, f"{seconds:.1f}"])
    header = ["table", "from", "rows", "columns", "score", *names]
    below = ["", "mean rank", "first", *(f"wins : losses against {name}" for name in ours), "seconds each"]
    return f"{table(header, rows)}\n\n{table(below, summary)}"


def main(arguments: list[str]) -> int:
    """Measure, print the tables, and write them to docs/tables.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[of.name for of in TABLES], help="only these tables")
    parser.add_argument("--models", nargs="+", default=[*OURS, *RIVALS], help="nnrun's options, and rivals")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--inner", action="store_true", help="leave the test parts alone, as when choosing defaults")
    parser.add_argument("--words", nargs="*", default=[], help="further words for nnrun")
    parser.add_argument("--json", type=Path, help="keep each score in this file, and measure only those not in it")
    parser.add_argument("--measured", action="store_true", help="measure nothing: show the seeds that --json has whole")
    parser.add_argument("--write", action="store_true", help="write docs/tables.md too")
    options = parser.parse_args(arguments)
    if options.write and (options.inner or options.words):
        parser.error("--write is for measurements of the defaults on the test parts: leave out --inner and --words")
    names, tables = options.models, options.only or [of.name for of in TABLES]
    tasks = [
        Task(name, of, seed, tuple(options.words), options.inner)
        for seed in range(options.seeds)
        for of in tables
        for name in names
    ]
    os.environ["OMP_NUM_THREADS"] = "1"
    kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json and options.json.exists() else {}
    if options.measured:
        whole = {(of, seed) for of in tables for seed in range(options.seeds)}
        whole -= {(task.table, task.seed) for task in tasks if repr(task) not in kept}
        tables = [of for of in tables if any(of == name for name, _ in whole)]
        tasks = [task for task in tasks if (task.table, task.seed) in whole]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for task, result in pool.imap_unordered(measured, [task for task in tasks if repr(task) not in kept]):
            say(f"seed {task.seed}, {task.table}, {task.name}: {result.score:.4f}, {result.seconds:.1f} s")
            kept[repr(task)] = result
            if options.json:
                options.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    found: dict[tuple[str, str], list[Result]] = {}
    for task in tasks:
        found.setdefault((task.name, task.table), []).append(Result(*kept[repr(task)]))
    left_out = [of.name for of in TABLES if of.name not in tables]
    more = f" Not measured this time: {', '.join(left_out)}." if left_out else ""
    num_seeds = {of: len(found[names[0], of]) for of in tables}
    fewer = [of for of in tables if num_seeds[of] < options.seeds]
    more = f" Over fewer: {', '.join(f'{of} ({num_seeds[of]})' for of in fewer)}.{more}" if fewer else more
    below = f"Means over {options.seeds} splits and seeds.{more} {machine()}. {SECONDS}"
    text = f"{text_of(found, names, tables)}\n\n{below}\n"
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2], encoding="utf-8")
        say(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
