"""Measure nnrun against its peers, by turns, on this machine.

    make bench                        the figures, on stdout
    make bench ARGS=--write           and into docs/benchmarks.md
    make bench ARGS=--quick           a smoke test of the benchmark itself, in about two minutes

Each contestant trains the same network (225,034 parameters) on MNIST with batch 64 and Adam 1e-3, in a process of its
own, once a round. The order changes from round to round, and contestants whose ratio is a goal run one right after the
other, because the pace of a CPU drifts. Ratios are taken within a round; reported is their median over the rounds.

What is timed is alike for all: every training step from the first to the last, data handling included; no imports, no
opening of data sets, no starting of workers, no evaluation. The peers time themselves; nnrun's figure is
train.samples_per_second of the summary.json that any run leaves, reached through the public command line. No step is
left out as a warm-up: nnrun's figure leaves none out, so the others' do not either. On their first step the peers and
the bare step alike lose 20 to 30 ms, which is less than 1 % of 300 steps. On a GPU the first steps load cuDNN, which
takes as long as thousands of others: there all take 50 steps before, nnrun in a training of its own in its process.

The start-up figures begin with a practice round that is not counted. nnrun's first step is first_step_seconds of its
status.json, from the creation of its process; the bare script's is from just before its process is created.

The exit code is 1 where a contestant failed, whatever the figures say; goals that are not reached are only reported.
"""

from __future__ import annotations

import argparse
import shlex
import string
import sys
from pathlib import Path

import report
import scale
from contest import measure_by_turns
from contestants import Plan, speed_blocks, startup_blocks
from machine import OtherWork, machine

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PAGE = REPOSITORY / "docs" / "benchmarks.md"
ROUNDS, STEPS, GPU_STEPS = 5, 300, 3000
QUICK_ROUNDS, QUICK_STEPS = 1, 20


def default_root() -> Path:
    """Return the folder where MNIST is looked for unless told otherwise."""
    shared = REPOSITORY.parent / "shared" / "data"
    return shared if shared.exists() else REPOSITORY / "data"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; end the program where they make no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=default_root(), help="has MNIST/raw in it (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=None, help=f"default: {ROUNDS}")
    parser.add_argument(
        "--steps", type=int, default=None, help=f"training steps a round, default: {STEPS}; on a GPU {GPU_STEPS}"
    )
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu", help="default: cpu")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} round of {QUICK_STEPS} steps")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error("--quick figures are a smoke test and belong on no page: leave out --quick or --write")
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.steps is None:
        steps = STEPS if options.device == "cpu" else GPU_STEPS
        options.steps = QUICK_STEPS if options.quick else steps
    if options.rounds < 1 or options.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    options.root = options.root.resolve()
    if not (options.root / "MNIST" / "raw").is_dir():
        parser.error(f"--root {options.root} has no MNIST/raw in it; `nnrun data=mnist data.root=DIR` fetches it")
    return options


def conditions(options: argparse.Namespace, other_work: OtherWork) -> str:
    """Say what else the machine did, and whether these are figures at all."""
    quick = " **`--quick` is a smoke test, not a measurement.**" if options.quick else ""
    return f"Device: {options.device}. {other_work.sentence()}{quick}"


def say(line: str) -> None:
    """Tell on stderr how far we are."""
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
    """Return what was typed, as one would type it in the repository's root."""
    interpreter = Path(sys.executable)
    if interpreter.is_relative_to(REPOSITORY):
        interpreter = interpreter.relative_to(REPOSITORY)
    return shlex.join([str(interpreter), "benchmarks/bench.py", *sys.argv[1:]])


def method() -> str:
    """Return the part of this file's docstring that says how it measures."""
    assert __doc__ is not None
    return __doc__[__doc__.index("Each contestant") : __doc__.index("The exit code")].strip()


if __name__ == "__main__":
    sys.exit(main())
