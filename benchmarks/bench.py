"""Measure nnrun and its peers on this machine, in turn.

    make bench                        print the figures
    make bench ARGS=--write           also write them to docs/benchmarks.md
    make bench ARGS=--quick           a smoke test of the benchmark itself, in about two minutes

Each contestant trains the same network (225,034 parameters) on MNIST with batch size 64 and Adam at 1e-3, in a process
of its own, once per round. The order changes from round to round. Contestants whose ratio is a goal run one right after
the other, because the speed of a CPU drifts. Ratios are computed within a round, and their median is reported.

The timing covers the same for all: every training step from the first to the last, including data handling, but no
imports, opening of data sets, starting of workers or evaluation. The peers time themselves. nnrun's figure is
train.samples_per_second in the run's summary.json, measured through the public command line. It includes every step,
so no contestant has warm-up steps. The first step of the peers and of the bare step takes 20 to 30 ms longer, which is
less than 1 % of 300 steps. On a GPU the first steps load cuDNN, which takes as long as thousands of steps. There, all
contestants first take 50 warm-up steps, nnrun in a separate training in the same process.

The start-up figures begin with a practice round that is not counted, and Python keeps byte code. nnrun's first step is
first_step_seconds in its status.json, counted from the creation of its process. The bare scripts' is counted from just
before theirs.

The exit code is 1 if a contestant failed, whatever the figures are; goals that are not reached are only reported.
"""

from __future__ import annotations

import argparse
import shlex
import string
import sys
from pathlib import Path

import report
import scale
import table_speed
import texts
from contest import measure_by_turns
from contestants import Plan, speed_blocks, startup_blocks
from machine import OtherWork, machine

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PAGE = REPOSITORY / "docs" / "benchmarks.md"
ROUNDS, STEPS, GPU_STEPS = 5, 300, 3000
QUICK_ROUNDS, QUICK_STEPS = 1, 20


def default_root() -> Path:
    """Return the folder where MNIST is expected by default."""
    shared = REPOSITORY.parent / "shared" / "data"
    return shared if shared.exists() else REPOSITORY / "data"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; exit if they make no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=default_root(), help="contains MNIST/raw (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=None, help=f"default: {ROUNDS}")
    parser.add_argument(
        "--steps", type=int, default=None, help=f"training steps per round, default: {STEPS}; on a GPU {GPU_STEPS}"
    )
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu", help="default: cpu")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} round of {QUICK_STEPS} steps")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error("--quick is only a smoke test, whose figures are not published: leave out --quick or --write")
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.steps is None:
        steps = STEPS if options.device == "cpu" else GPU_STEPS
        options.steps = QUICK_STEPS if options.quick else steps
    if options.rounds < 1 or options.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    options.root = options.root.resolve()
    if not (options.root / "MNIST" / "raw").is_dir():
        parser.error(f"--root {options.root} does not contain MNIST/raw; `nnrun data=mnist data.root=DIR` downloads it")
    return options


def conditions(options: argparse.Namespace, other_work: OtherWork) -> str:
    """Return the device, what else the machine did, and a warning if this is only a smoke test."""
    quick = " **`--quick` is a smoke test, not a measurement.**" if options.quick else ""
    return f"Device: {options.device}. {other_work.sentence()}{quick}"


def say(line: str) -> None:
    """Report progress on stderr."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and return the exit code."""
    options = parse(sys.argv[1:])
    other_work = OtherWork()
    plan = Plan(options.root, options.steps, options.device)
    speed = measure_by_turns(speed_blocks(plan), options.rounds, say)
    startup = measure_by_turns(startup_blocks(plan), options.rounds, say, practice=True)
    failures = report.failures(speed, startup)
    page = string.Template((HERE / "template.md").read_text(encoding="utf-8")).substitute(
        machine=machine(),
        conditions=conditions(options, other_work),
        speed=report.speed_table(speed),
        startup=report.startup_table(startup),
        goals=report.goals_table(report.goals(speed, startup)),
        scale=scale.part_of(PAGE),
        texts=texts.part_of(PAGE),
        table_speed=table_speed.part_of(PAGE),
        failures=failures,
        rounds=options.rounds,
        steps=options.steps,
        method=method(),
        command=command(),
    )
    print(page)
    if options.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        say(f"wrote {PAGE}")
    return 1 if failures else 0


def command() -> str:
    """Return the command, as typed in the repository's root, with DIR for the folder of the data."""
    interpreter = Path(sys.executable)
    if interpreter.is_relative_to(REPOSITORY):
        interpreter = interpreter.relative_to(REPOSITORY)
    typed = list(sys.argv[1:])
    for place, word in enumerate(typed):
        if word.startswith("--root="):
            typed[place] = "--root=DIR"
        elif place and typed[place - 1] == "--root":
            typed[place] = "DIR"
    return shlex.join([str(interpreter), "benchmarks/bench.py", *typed])


def method() -> str:
    """Return the part of this file's docstring that describes the method."""
    assert __doc__ is not None
    return __doc__[__doc__.index("Each contestant") : __doc__.index("The exit code")].strip()


if __name__ == "__main__":
    sys.exit(main())
