"""Measure training and reading of a table of a million rows, beside a plain PyTorch loop, scikit-learn, polars, pandas.

    make bench-table-speed                                written to docs/benchmarks.md
    python benchmarks/table_speed.py --rounds 1 --part reading   on stdout

Training: rows per second over the steps alone, in turns, each in a process of its own, with one thread. The plain loop
has the network of nnrun's run and the same preprocessing, batch size and optimizer, and takes its batches from a
DataLoader of a TensorDataset, shuffled. MLPClassifier, of scikit-learn, has the hidden layers, the batch size and the
learning rate of nnrun's mlp, and the same scaled numbers and one-hot categories.

Reading: the seconds until the CSV file is read. nnrun's include all until the first step: finding the kinds of the
columns, looking for equal rows in two splits, learning scales, bins and categories of the training part. polars and
pandas read the file with their defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import OtherWork, machine, measured_environment
from report import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- made by make bench-table-speed -->\n", "<!-- end -->\n"
ROWS, BATCH = 1_000_000, 1024
NUM_NUMBERS, CATEGORIES = 10, (3, 10, 30)
MODELS = ("tabular", "mlp")
# Of nnrun's mlp.
HIDDEN = (128,)
# A training is measured over so many steps; scikit-learn's epoch has about as many rows.
STEPS = 300
HOW = (
    f"Training, with one thread: the plain loop has nnrun's network, preprocessing, batches of {BATCH:,} rows and "
    "optimizer, and a shuffled DataLoader of a TensorDataset; MLPClassifier has the same hidden layer, batches and "
    "inputs, and no dropout. The aim of 5 times the loop is not reached: what is saved is the loader's time alone, and "
    "most of a step is the network's own, of tabular's a third the drawing of dropout's masks. "
    "Reading: nnrun's seconds include finding the kinds of the columns, equal rows in two splits, and what is learned "
    "of the training part; the others only read."
)
READERS = {"polars": "import polars; read = polars.read_csv", "pandas": "import pandas; read = pandas.read_csv"}


def main() -> None:
    """Measure what is asked for; print it, and write it to the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["training", "reading"], help="only this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    parser.add_argument("--rival", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rival:
        who, run, file, steps = options.rival
        print(json.dumps(RIVALS[who](Path(run), Path(file), int(steps))))
        return
    others = OtherWork()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "rows.csv"
        write_rows(root, options.rows)
        parts = {"training": training, "reading": reading}
        texts = [measure(options, root) for name, measure in parts.items() if options.part in (None, name)]
        size = f"{options.rows:,} rows of {NUM_NUMBERS} numbers and {len(CATEGORIES)} categories, {_megabytes(root)}"
    text = "\n\n".join([*texts, HOW, f"{size}; medians of {options.rounds} rounds. {machine()}. {others.sentence()}\n"])
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def part_of(page: Path) -> str:
    """Return this benchmark's section of a page, to keep it when the page is written anew."""
    return page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] if page.exists() else ""


def write_rows(path: Path, number: int) -> None:
    """Write rows whose class follows from two numbers and the categories."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    numbers = random.normal(size=(number, NUM_NUMBERS))
    columns: dict[str, Any] = {f"n{place}": numbers[:, place].round(4) for place in range(NUM_NUMBERS)}
    score = numbers[:, 0] + numbers[:, 1] * numbers[:, 2]
    for count in CATEGORIES:
        codes = random.integers(0, count, number)
        columns[f"c{count}"] = np.array([f"v{code}" for code in range(count)])[codes]
        score = score + np.sin(codes)
    frame = pl.DataFrame({**columns, "y": np.where(score > 0, "yes", "no")})
    frame.write_csv(path)
    frame.write_parquet(_parquet(path))


def _parquet(root: Path) -> Path:
    """Return the same rows as Parquet, which is read faster where reading is not measured: in a folder of its own."""
    (root.parent / "parquet").mkdir(exist_ok=True)
    return root.parent / "parquet" / "rows.parquet"


def training(options: argparse.Namespace, root: Path) -> str:
    """Return the table of rows per second of training."""
    names = {"loop": "plain loop, DataLoader", "sklearn": "scikit-learn, MLPClassifier"}
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(options.rounds):
        for model in MODELS:
            run = root.parent / f"{model}-{number}"
            summary = nnrun(model, _parquet(root), run, options.steps)
            found.setdefault((model, "nnrun"), []).append(summary["train"]["samples_per_second"])
            rivals = ("loop", "sklearn") if model == "mlp" else ("loop",)
            for who in rivals:
                found.setdefault((model, names[who]), []).append(_rival(who, run, _parquet(root), options.steps))
    rows = []
    for (model, who), rates in found.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(found[model, "nnrun"], rates, strict=True))
        rows.append([model, who, f"{statistics.median(rates):,.0f}", f"{ratio:.2f}"])
    return table(["network", "training", "rows/s", "nnrun relative to it"], rows)


def reading(options: argparse.Namespace, root: Path) -> str:
    """Return the table of seconds until a table is read."""
    found: dict[str, list[float]] = {"nnrun": [], **{name: [] for name in READERS}}
    for number in range(options.rounds):
        summary = nnrun("linear", root, root.parent / f"reading-{number}", 1)
        found["nnrun"].append(summary["time"]["opening"])
        for name, start in READERS.items():
            code = f"import time; {start}; t = time.perf_counter(); read({str(root)!r}); print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            found[name].append(float(done.stdout))
    rows = []
    for who, seconds in found.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(found["nnrun"], seconds, strict=True))
        rows.append([who, f"{statistics.median(seconds):.2f}", f"{ratio:.2f}"])
    return table(["reading the CSV file", "seconds", "nnrun relative to it"], rows)


def nnrun(model: str, root: Path, run: Path, steps: int) -> dict[str, Any]:
    """Return the summary of a training by the command line."""
    words = ["data=table", f"data.root={root}", "data.target=y", f"model={model}", f"data.batch_size={BATCH}"]
    words += [f"trainer.max_steps={steps}", "trainer.threads=1", "trainer.device=cpu", "trainer.test=false"]
    words += ["export=none", "report=none", "trainer.progress=false", f"hydra.run.dir={run}"]
    command = [str(Path(sys.executable).with_name("nnrun")), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=measured_environment(), cwd=run.parent, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return found


def _rival(who: str, run: Path, root: Path, steps: int) -> float:
    """Return the rows per second of a rival, measured in a process of its own with one thread."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--rival", who, str(run), str(root), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout))


def plain_loop(run: Path, root: Path, steps: int) -> float:
    """Return rows per second of a loop as people write it, on the network of a run of nnrun."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    import nnrun

    torch.set_num_threads(1)
    network: Any = nnrun.load(str(run)).train()
    numbers, categories, targets = coded(root, network.preprocessing)
    loader = DataLoader(TensorDataset(numbers, categories, targets), BATCH, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    num_rows, batches = 0, iter(loader)
    start = time.perf_counter()
    for _ in range(steps):
        raw_numbers, raw_categories, wanted = next(batches)
        inputs = network.preprocessing({"numbers": raw_numbers, "categories": raw_categories})
        loss = nn.functional.cross_entropy(network(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        num_rows += len(wanted)
    return num_rows / (time.perf_counter() - start)


def classifier(run: Path, root: Path, steps: int) -> float:
    """Return rows per second of an epoch of scikit-learn's MLPClassifier."""
    import warnings

    import torch
    from sklearn.neural_network import MLPClassifier

    import nnrun

    preprocessing: Any = nnrun.load(str(run)).preprocessing
    numbers, categories, targets = coded(root, preprocessing)
    count = steps * BATCH
    chosen = torch.randperm(len(targets))[:count]
    inputs = preprocessing({"numbers": numbers[chosen], "categories": categories[chosen]})
    one_hot = [torch.nn.functional.one_hot(inputs["categories"][:, place]).float() for place in range(len(CATEGORIES))]
    rows = torch.cat([inputs["numbers"], *one_hot], 1).numpy()
    model = MLPClassifier(HIDDEN, batch_size=BATCH, max_iter=1, learning_rate_init=1e-3)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    model.fit(rows, targets[chosen].numpy())
    return len(rows) / (time.perf_counter() - start)


RIVALS: dict[str, Callable[[Path, Path, int], float]] = {"loop": plain_loop, "sklearn": classifier}


def coded(root: Path, preprocessing: Any) -> tuple[Any, Any, Any]:
    """Return the rows of the file as tensors, coded as the network of a run takes them."""
    import polars as pl
    import torch

    frame = pl.read_parquet(root)
    numbers = torch.stack([torch.from_numpy(frame[f"n{place}"].to_numpy()).float() for place in range(NUM_NUMBERS)], 1)
    codes = []
    for column in preprocessing.categorical:
        of_each = {name: place + 2 for place, name in enumerate(column.categories)}
        codes.append(torch.from_numpy(frame[column.name].replace_strict(of_each, default=1).to_numpy().copy()).long())
    return numbers, torch.stack(codes, 1), torch.from_numpy((frame["y"] == "yes").to_numpy().copy()).long()


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
