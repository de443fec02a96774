"""Measure the cost per sample as a data set grows: opening it (cold and warm), training, validation.

    make bench-scale                                 1e4 to 1e7 samples, written to docs/benchmarks.md
    python benchmarks/scale.py --sizes 1e4 1e5       only these, on stdout
    python benchmarks/scale.py --nnrun OTHER/bin/python   another version of nnrun, by its Python

The samples are 8x8 pixels, uint8, with ten classes, int64 (`x.npy`, `y.npy`: 72 bytes per sample). nnrun holds out the
test and validation splits itself. `model=mlp` trains with batch size 256 for one epoch, or, for small data sets, for
enough epochs to see 200,000 samples. Each size is trained by the command line twice: with an empty cache for one step,
then to the end. "Open" lasts from the request for the data until its samples are in memory and split; its memory is the
increase of the process's peak. Training counts only the steps, validation is the first one; both are of the second run.
1e7 samples need about 2.5 GB of memory and 2 GB of disk; --scratch sets the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import OtherWork, machine
from report import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- made by make bench-scale -->\n", "<!-- end -->\n"
SIZES = (1e4, 1e5, 1e6, 1e7)
SIDE, NUM_CLASSES, LABEL_BYTES = 8, 10, 8
SEEN_SAMPLES, CHUNK = 200_000, 100_000
HEADER = ["samples", "open cold, s", "µs per sample", "open warm, s", "µs per sample"]
HEADER += ["memory, MB", "relative to the data", "training, µs per sample", "validation, µs per sample"]


def main() -> None:
    """Measure each size; print the table, and write it to docs/benchmarks.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=SIZES)
    parser.add_argument("--nnrun", default=sys.executable, help="the Python that runs nnrun")
    parser.add_argument("--scratch", type=Path, help="a folder for the data; default: the system's temporary folder")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    parser.add_argument("--measured", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        print(json.dumps(measured(options.measured)))
        return
    rows, other_work = [], OtherWork()
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            rows.append(row(int(size), Path(scratch), options.nnrun))
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    text = f"{table(HEADER, rows)}\n\n{machine()}. {other_work.sentence()}\n"
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        page = f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"
        PAGE.write_text(page, encoding="utf-8")


def part_of(page: Path) -> str:
    """Return this benchmark's section of a page, to keep it when the page is written anew."""
    return page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] if page.exists() else ""


def row(num_samples: int, scratch: Path, python: str) -> list[str]:
    """Return the figures of a size."""
    write_samples(scratch, num_samples)
    words = ["data=arrays", f"data.root={scratch}", "model=mlp", "export=none", "data.batch_size=256"]
    words += [f"trainer.epochs={max(1, SEEN_SAMPLES // num_samples)}", "trainer.progress=false"]
    cold = one_run([*words, "trainer.max_steps=1"], scratch, python, "cold")
    warm = one_run(words, scratch, python, "warm")
    data_mb = num_samples * (SIDE * SIDE + LABEL_BYTES) / 1e6
    memory = max(cold["opening_mb"], warm["opening_mb"])
    micros = [seconds / num_samples * 1e6 for seconds in (cold["opening_seconds"], warm["opening_seconds"])]
    return [
        f"{num_samples:,}",
        *(f"{cold['opening_seconds']:.2f}", f"{micros[0]:.2f}", f"{warm['opening_seconds']:.2f}", f"{micros[1]:.2f}"),
        *(f"{memory:,.0f}", f"{memory / data_mb:.2f}"),
        *(f"{warm['training_micros']:.2f}", f"{warm['validation_micros']:.2f}"),
    ]


def write_samples(folder: Path, num_samples: int) -> None:
    """Write random samples, and their classes, which follow from their first pixel."""
    import numpy as np

    drawn = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (num_samples, SIDE, SIDE))
    classes = np.lib.format.open_memmap(folder / "y.npy", "w+", np.int64, (num_samples,))
    for start in range(0, num_samples, CHUNK):
        part = drawn.integers(0, 256, (min(CHUNK, num_samples - start), SIDE, SIDE), dtype=np.uint8)
        pixels[start : start + len(part)], classes[start : start + len(part)] = part, part[:, 0, 0] % NUM_CLASSES
    pixels.flush()
    classes.flush()


def one_run(words: list[str], scratch: Path, python: str, name: str) -> dict[str, float]:
    """Return the figures of a training in a process of its own."""
    command = [python, __file__, "--measured", *words, f"hydra.run.dir={scratch / name}"]
    environment = os.environ | {"NNRUN_CACHE": str(scratch / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measured(words: list[str]) -> dict[str, float]:
    """Train by the command line; return the time of opening, training and validation."""
    import nnrun.core.validation
    import nnrun.tasks.train.ready
    from nnrun.cli import main as nnrun_main

    opening = _timed(nnrun.tasks.train.ready, "open_for")
    validations = _timed(nnrun.core.validation, "evaluate")
    nnrun_main(words)
    directory = Path(words[-1].partition("=")[2])
    train = json.loads((directory / "summary.json").read_text(encoding="utf-8"))["train"]
    [(seconds, megabytes, data)] = opening
    return {
        "opening_seconds": seconds,
        "opening_mb": megabytes,
        "training_micros": 1e6 / train["samples_per_second"],
        "validation_micros": validations[0][0] / len(data.valid) * 1e6,
    }


def _timed(module: Any, name: str) -> list[tuple[float, float, Any]]:
    """Wrap a module's function to record its seconds, its increase of peak memory, and what it returned."""
    function: Callable[..., Any] = getattr(module, name)
    notes: list[tuple[float, float, Any]] = []

    def noted(*given: Any, **named: Any) -> Any:
        before, start = _peak_mb(), time.perf_counter()
        returned = function(*given, **named)
        notes.append((time.perf_counter() - start, _peak_mb() - before, returned))
        return returned

    setattr(module, name, noted)
    return notes


def _peak_mb() -> float:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    main()
