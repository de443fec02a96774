"""Compare the ways to run the jobs of a sweep: one by one, side by side, and trained together as one stack.

    make bench-sweeps                              five rounds, on stdout
    make bench-sweeps ARGS="--write"               also into docs/sweeps.md
    make bench-sweeps ARGS="--old ../older/src"    also against another version's -m, by the folder of its source
    python benchmarks/sweeps.py --quick            a smoke test of the benchmark itself

Each is a whole command: sixteen learning rates of the MLP on the digits for five epochs, with everything that a run
does by default (its checkpoints, its test, a verified ONNX file). `halves` is what two runs with one thread reach at
the same time: two commands with half of the jobs each, one by one. The ways are interleaved, so that all see the same
machine; ratios are those of a round, and their median counts. What a job costs beyond its training is its own time
without that of its training, of the jobs that run one by one. At last, jobs of a stack are compared with the same jobs
alone, over several seeds.

The exit code is 1 if a command failed, whatever the figures are.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import say
from machine import OtherWork, machine, measured_environment
from report import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sweeps.md"
BEGIN, END = "<!-- made by make bench-sweeps -->\n", "<!-- end of make bench-sweeps -->\n"
JOB = ("data=digits", "model=mlp")
WAYS = {
    "one": ("sweep.parallel=1",),
    "auto": (),
    "stack": ("sweep.stack=true",),
}
# A relative difference that is only rounding.
CLOSE = 1e-4
TITLES = {
    "old": "`-m` of the other version",
    "one": "one by one: `sweep.parallel=1`",
    "auto": "side by side: `sweep.parallel=auto`, the default",
    "stack": "trained together: `sweep.stack=true`",
    "halves": "two commands with one thread each, half of the jobs each",
}


def rates(number: int) -> list[str]:
    """Return learning rates from 1e-4 to 1e-2, evenly on a logarithmic scale."""
    return [f"{10 ** (-4 + 2 * index / max(number - 1, 1)):.6g}" for index in range(number)]


def words_of(swept: Sequence[str], epochs: int, folder: Path) -> list[str]:
    """Return the words of a sweep over learning rates."""
    return ["-m", *JOB, f"trainer.epochs={epochs}", f"optimizer.lr={','.join(swept)}", f"hydra.sweep.dir={folder}"]


def timed(commands: Sequence[Sequence[str]], scratch: Path, source: Path | None = None, threads: int = 0) -> float:
    """Run nnrun with each of these words at the same time; return the seconds until all have ended."""
    environment = measured_environment()
    environment.pop("OMP_NUM_THREADS", None)
    environment |= {"PYTHONPATH": str(source)} if source else {}
    environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    start = time.perf_counter()
    running = []
    for number, words in enumerate(commands):
        with (scratch / f"said{number}").open("w") as said:
            command = [sys.executable, "-m", "nnrun", *words]
            running.append(subprocess.Popen(command, cwd=scratch, env=environment, stdout=said, stderr=said))
    codes = [process.wait() for process in running]
    seconds = time.perf_counter() - start
    if any(codes):
        told = "\n".join((scratch / f"said{number}").read_text() for number in range(len(commands)))
        raise SystemExit(f"nnrun {shlex.join(commands[0])} ended with {codes}:\n{told[-3000:]}")
    return seconds


def beyond_training(folder: Path) -> float:
    """Return the median of what the jobs of a sweep took beyond their training, in seconds."""
    jobs = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["jobs"]
    trained = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["train"]["seconds"]
        for path in folder.glob("[0-9]*/summary.json")
    }
    return statistics.median(job["seconds"] - trained[Path(job["directory"]).name] for job in jobs)


def version_of(source: Path) -> str:
    """Return the version and the commit of a source folder."""
    [line] = [
        each for each in (source / "nnrun/__init__.py").read_text().splitlines() if each.startswith("__version__")
    ]
    command = ["git", "-C", str(source), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"nnrun {line.partition('=')[2].strip().strip(chr(34))}" + (f", commit {commit}" if commit else "")


def measure(options: argparse.Namespace) -> tuple[dict[str, float], float]:
    """Run each way once; return their seconds, and what a job costs beyond its training."""
    seconds: dict[str, float] = {}
    swept = rates(options.jobs)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if options.old:
            seconds["old"] = timed([words_of(swept, options.epochs, scratch / "old")], scratch, options.old.resolve())
        for name, more in WAYS.items():
            seconds[name] = timed([[*words_of(swept, options.epochs, scratch / name), *more]], scratch)
        halves = [
            [*words_of(half, options.epochs, scratch / f"half{number}"), *WAYS["one"]]
            for number, half in enumerate((swept[::2], swept[1::2]))
        ]
        seconds["halves"] = timed(halves, scratch, threads=1)
        return seconds, beyond_training(scratch / "one")


def distances(options: argparse.Namespace) -> list[float]:
    """Return how far each job of a stack is from the job alone: the largest relative difference of a logged number."""
    swept = rates(options.rates_apart)
    words = [*JOB, f"trainer.epochs={options.epochs}", f"optimizer.lr={','.join(swept)}", "export=none", "report=none"]
    words += [f"seed={','.join(map(str, range(options.seeds)))}"]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in ("one", "stack"):
            timed([["-m", *words, f"hydra.sweep.dir={scratch / name}", *WAYS[name]]], scratch, threads=1)
        found = []
        for path in sorted((scratch / "one").glob("[0-9]*/metrics.jsonl")):  # and not the link to the best
            pair = [path, scratch / "stack" / path.parent.name / path.name]
            ours, theirs = ([json.loads(line) for line in each.read_text().splitlines()] for each in pair)
            found.append(
                max(
                    abs(value - other[name]) / max(abs(value), abs(other[name]), 1e-3)
                    for one, other in zip(ours, theirs, strict=True)
                    for name, value in one.items()
                    if isinstance(value, float)
                )
            )
        return found


def text_of(
    rounds: Sequence[Mapping[str, float]],
    beyond: Sequence[float],
    apart: Sequence[float],
    options: argparse.Namespace,
    conditions: str,
) -> str:
    """Return the table, and how it was measured."""
    base = "old" if options.old else "one"
    rows = []
    for name in [name for name in TITLES if name in rounds[0]]:
        seconds = [one[name] for one in rounds]
        ratios = [one[base] / one[name] for one in rounds]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        title = f"`-m` of {version_of(options.old)}" if name == "old" else TITLES[name]
        rows.append([title, spread, f"{statistics.median(ratios):.2f}"])
    reached = statistics.median(one["halves"] / one["auto"] for one in rounds)
    than = "the older `-m`" if options.old else "one by one"
    sentences = [
        f"{options.jobs} learning rates, {options.epochs} epochs; median of {len(rounds)} rounds (min to max).",
        f"Side by side, the jobs reach {reached:.2f} of what two runs with one thread reach at the same time.",
        f"A job took {1000 * statistics.median(beyond):.0f} ms beyond its training, its export included.",
        f"Of {options.rates_apart} of these rates with {options.seeds} seeds each, "
        f"{sum(each < CLOSE for each in apart)} of {len(apart)} jobs of a stack log every number within {CLOSE:g} of "
        f"that of the job alone, relative to it; the median is {statistics.median(apart):.1g}, the largest "
        f"{max(apart):.1g}.",
    ]
    header = ["", "seconds", f"times as fast as {than}"]
    words = shlex.join([*JOB, f"trainer.epochs={options.epochs}", f"optimizer.lr={','.join(rates(options.jobs))}"])
    return f"{table(header, rows)}\n\n{' '.join(sentences)} `nnrun -m {words}`.\n\n{conditions}\n"


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write it to the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is run (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=16, help="learning rates (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="of each job (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the jobs compared (default: %(default)s)")
    parser.add_argument("--rates-apart", type=int, default=4, help="learning rates of these (default: %(default)s)")
    parser.add_argument("--old", type=Path, help="the source folder of another version, whose -m is measured too")
    parser.add_argument("--quick", action="store_true", help="one round, few and short jobs")
    parser.add_argument("--write", action="store_true", help=f"also write the figures to {PAGE.name}")
    options = parser.parse_args(arguments)
    if options.quick:
        if options.write:
            parser.error("--quick is only a smoke test, whose figures are not published: leave out --quick or --write")
        options.rounds, options.jobs, options.epochs, options.seeds, options.rates_apart = 1, 4, 1, 2, 1
    other_work, rounds, beyond = OtherWork(), [], []
    for number in range(options.rounds):
        seconds, extra = measure(options)
        rounds.append(seconds)
        beyond.append(extra)
        shown = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
        say(f"round {number + 1}: {shown}; beyond its training {extra:.3f} s")
    warning = " **`--quick` is a smoke test, not a measurement.**" if options.quick else ""
    conditions = f"{machine()}. {other_work.sentence()}{warning}"
    text = text_of(rounds, beyond, distances(options), options, conditions)
    print(text, flush=True)
    if options.write:
        before, found, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        assert found, f"{PAGE} has no place for the figures: {BEGIN!r}"
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
