"""Measure the tutorial's claims on MNIST, and the experiments mnist_fast and mnist_best, by nnrun's command line.

    make bench-tutorial                        write all three parts to docs/tutorial.md
    make bench-tutorial ARGS="--only fast"     write this part; the page keeps the others
    python benchmarks/tutorial.py --quick      a smoke test of the benchmark itself, on stdout

tutorial trains experiment=tutorial/base, batchnorm, augment and amp in turn, one sweep for each seed. Each sweep begins
with a different one, because the speed of a machine drifts. Differences and ratios are computed within a seed. The
seconds are those of the training steps, including data and augmentation. fast and best run each seed in its own
process; their time is that of the whole process, from its creation to its end.

The exit code is 1 if a run failed, whatever the figures are; goals that are not reached are only reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import default_root, say
from command import nnrun
from machine import OtherWork, machine
from report import table

HERE = Path(__file__).resolve().parent
PAGE, TEMPLATE = HERE.parent / "docs" / "tutorial.md", HERE / "tutorial.md"
END = "<!-- end -->\n"
NUM_SEEDS = {"tutorial": 3, "fast": 5, "best": 5}
# Of the mean accuracy in percent, and of the median time: seconds for fast, minutes for best.
GOALS = {"fast": (99.0, 3.5), "best": (99.72, 6.0)}
QUICK_WORDS = ("data.limit=500", "trainer.epochs=1")
# The tutorial's claims: the accuracy of base, or the points above it; and the time relative to it.
CLAIMS = {
    "base": ("98.2 %", ""),
    "batchnorm": ("+0.7", "0.85"),
    "augment": ("+0.5", ""),
    "amp": ("", "0.60"),
}
VARIANTS_NOTES = """\
Each cell: the mean over the seeds (min to max). The claims are the accuracy of base, and points above it. The time is
that of the training steps, including data and augmentation; relative to base it is a ratio. Points and ratios are
computed within a seed."""
WHOLE_NOTES = """\
Accuracy: mean over the seeds (min to max). Time: median over the seeds (min to max) of the whole command, including
imports, evaluation and report."""


@dataclass(frozen=True)
class Run:
    """The result of a run: its accuracy on the test split in percent, and its time."""

    accuracy: float
    seconds: float
    samples_per_second: float


Rounds = Sequence[Mapping[str, Run]]


def read_run(directory: Path) -> Run:
    """Return the result in a run's summary.json."""
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    train = summary["train"]
    return Run(100 * summary["metrics"]["test/accuracy"], train["seconds"], train["samples_per_second"])


def variants_words(seed: int) -> list[str]:
    """Return the arguments of the sweep over the tutorial's variants; each seed begins with a different one."""
    names = list(CLAIMS)
    first = seed % len(names)
    return [f"seed={seed}", f"experiment={','.join(f'tutorial/{name}' for name in names[first:] + names[:first])}"]


def measure_variants(seed: int, words: Sequence[str]) -> dict[str, Run]:
    """Train every variant of the tutorial in one sweep."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sweep"
        nnrun(["-m", *variants_words(seed), *words, f"hydra.sweep.dir={folder}"], Path(scratch))
        jobs = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["jobs"]
        by_name = {job["overrides"]["experiment"]: read_run(Path(job["directory"])) for job in jobs}
    return {name: by_name[f"tutorial/{name}"] for name in CLAIMS}


def measure_whole(part: str, seed: int, words: Sequence[str]) -> Run:
    """Run an experiment in a process of its own; the seconds are those of the whole process."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "run"
        typed = [f"experiment=mnist_{part}", f"seed={seed}", *words, f"hydra.run.dir={directory}"]
        seconds = nnrun(typed, Path(scratch))
        run = read_run(directory)
    return Run(run.accuracy, seconds, run.samples_per_second)


def tutorial_table(rounds: Rounds) -> str:
    """Return the tutorial's claims and the measurements; each seed's variants are compared with that seed's base."""
    rows = []
    for name, (claimed_accuracy, claimed_time) in CLAIMS.items():
        runs = [one[name] for one in rounds]
        points = ratio = ""
        if name != "base":
            points = with_spread([one[name].accuracy - one["base"].accuracy for one in rounds], "+.2f")
            ratio = with_spread([one[name].seconds / one["base"].seconds for one in rounds], ".2f")
        accuracy = with_spread([run.accuracy for run in runs], ".2f")
        seconds = f"{statistics.mean(run.seconds for run in runs):.1f}"
        speed = f"{statistics.mean(run.samples_per_second for run in runs):,.0f}"
        rows.append([f"`tutorial/{name}`", claimed_accuracy, accuracy, points, claimed_time, ratio, seconds, speed])
    header = ["", "claimed", "test accuracy, %", "points above base", "claimed time", "time relative to base"]
    return table([*header, "seconds", "samples/s"], rows)


def whole_table(part: str, runs: Sequence[Run]) -> str:
    """Return an experiment's accuracy and goal, and its time: in seconds for fast, in minutes for best."""
    accuracies = [run.accuracy for run in runs]
    least, most = GOALS[part]
    unit, seconds_each = ("minutes", 60) if part == "best" else ("s", 1)
    times = [run.seconds / seconds_each for run in runs]
    reached = statistics.mean(accuracies) >= least and statistics.median(times) <= most
    goal = f"{least:g} % within {most:g} {unit}"
    took = f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
    header = ["", "goal", "test accuracy, %", f"whole command, {unit}", "verdict"]
    verdict = "reached" if reached else "**not reached**"
    return table(header, [[f"`mnist_{part}`", goal, with_spread(accuracies, ".2f"), took, verdict]])


def with_spread(figures: Sequence[float], form: str) -> str:
    """Return the mean, the minimum and the maximum."""
    return f"{statistics.mean(figures):{form}} ({min(figures):{form}} to {max(figures):{form}})"


def measure(part: str, seeds: Sequence[int], root: Path, quick: bool) -> str:
    """Measure a part, and return its section of the page."""
    other_work = OtherWork()
    words = ["export=none", "trainer.progress=false", *(QUICK_WORDS if quick else ())]
    measured_by = measure_variants if part == "tutorial" else partial(measure_whole, part)
    outcomes: list[Any] = []
    for seed in seeds:
        say(f"{part}, seed {seed}")
        outcomes.append(measured_by(seed, [*words, f"data.root={root}"]))
    if part == "tutorial":
        figures, notes = tutorial_table(outcomes), VARIANTS_NOTES
        typed = ["-m", *variants_words(seeds[0])]
    else:
        figures, notes = whole_table(part, outcomes), WHOLE_NOTES
        typed = [f"experiment=mnist_{part}", f"seed={seeds[0]}"]
    warning = " **`--quick` is a smoke test, not a measurement.**" if quick else ""
    conditions = f"{machine()}. {other_work.sentence()}{warning}"
    command = " ".join(["nnrun", *typed, *words, "data.root=DIR"])
    runs = f"Seeds: {', '.join(map(str, seeds))}, each with its own command, such as:"
    return f"{figures}\n\n{notes}\n\n{conditions}\n\n{runs}\n\n    {command}\n"


def write_part(page: str, part: str, text: str) -> str:
    """Return the page with this text for a part; the other parts stay unchanged."""
    begin = f"<!-- made by make bench-tutorial: {part} -->\n"
    before, found, rest = page.partition(begin)
    assert found, f"the page has no place for {part}"
    return f"{before}{begin}\n{text}\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str]) -> int:
    """Measure, print each part, and write it to the page as soon as it is complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=default_root(), help="contains MNIST (default: %(default)s)")
    parser.add_argument("--only", choices=list(NUM_SEEDS), help="measure only this part")
    parser.add_argument("--quick", action="store_true", help=f"one seed of {' '.join(QUICK_WORDS)}")
    parser.add_argument("--write", action="store_true", help="write docs/tutorial.md too")
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error("--quick is only a smoke test, whose figures are not published: leave out --quick or --write")
    for part in [options.only] if options.only else NUM_SEEDS:
        seeds = range(1 if options.quick else NUM_SEEDS[part])
        text = measure(part, seeds, options.root.resolve(), options.quick)
        print(text, flush=True)
        if options.write:
            page = (PAGE if PAGE.exists() else TEMPLATE).read_text(encoding="utf-8")
            PAGE.write_text(write_part(page, part, text), encoding="utf-8")
            say(f"wrote the part {part} of {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
