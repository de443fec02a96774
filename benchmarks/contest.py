"""Measure contestants in turn, so that disturbances affect all of them, and compare them in pairs.

Standard library only: the driver must not load or warm up what it measures.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import measured_environment

LAST_LINES = 8


class Failed(Exception):
    """A contestant failed: the run continues without it and ends with exit code 1."""


class NotMeasured(Exception):
    """A contestant cannot be measured here, through no fault of its own."""


@dataclass(frozen=True)
class Contestant:
    """Something that gives one figure each time it is run."""

    name: str
    unit: str
    measure: Callable[[], float]


@dataclass
class Outcome:
    """The figures of one contestant, by round, or why there are none."""

    by_round: dict[int, float] = field(default_factory=dict)
    failure: str = ""
    not_measured: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a figure of each round."""
        return not (self.failure or self.not_measured)

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.by_round.values())


Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Finished:
    """A process that ended with the expected exit code."""

    stdout: str
    wall_seconds: float


def run_process(command: Sequence[str], cwd: Path, timeout_seconds: float, exit_code: int = 0) -> Finished:
    """Run a command to its end; raise Failed with the last lines of its stderr if it does not end as expected."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=measured_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"not finished after {timeout_seconds:.0f} s") from error
    wall_seconds = time.perf_counter() - started
    if done.returncode != exit_code:
        tail = "\n".join(f"    {line}" for line in done.stderr.strip().splitlines()[-LAST_LINES:]) or "    (empty)"
        raise Failed(f"exit code {done.returncode}, expected {exit_code}; the last lines of stderr:\n\n{tail}")
    return Finished(done.stdout, wall_seconds)


def last_json_line(stdout: str) -> dict[str, Any]:
    """Return the object that a contestant printed as its last line."""
    lines = stdout.strip().splitlines()
    try:
        row = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"its last line of stdout is not JSON: {lines[-1:]}") from error
    if not isinstance(row, dict):
        raise Failed(f"its last line of stdout is not a JSON object: {row!r}")
    return row


def order(blocks: Sequence[Sequence[Contestant]], round_number: int) -> list[Contestant]:
    """Return the order of a round: shuffled blocks, each reversed in every second round.

    The contestants of a block stay neighbors, since their ratio is a goal and the machine's speed drifts.
    """
    shuffled = random.Random(round_number).sample(list(blocks), len(blocks))
    turned = -1 if round_number % 2 else 1
    return [contestant for block in shuffled for contestant in list(block)[::turned]]


def measure_by_turns(
    blocks: Sequence[Sequence[Contestant]], rounds: int, say: Callable[[str], None], practice: bool = False
) -> Outcomes:
    """Measure every contestant once per round; one that cannot be measured drops out, with all its figures.

    With `practice`, a round 0 comes first and is not counted: it fills the caches of files and byte code.
    """
    outcomes: Outcomes = {contestant.name: Outcome() for block in blocks for contestant in block}
    for round_number in range(0 if practice else 1, rounds + 1):
        for contestant in order(blocks, round_number):
            outcome = outcomes[contestant.name]
            if not outcome.ok:
                continue
            label = f"round {round_number}/{rounds}: {contestant.name}"
            try:
                figure = contestant.measure()
            except Failed as failure:
                outcome.failure, outcome.by_round = str(failure), {}
                say(f"{label}: FAILED, {failure}")
            except NotMeasured as reason:
                outcome.not_measured, outcome.by_round = str(reason), {}
                say(f"{label}: not measured, {reason}")
            else:
                say(f"{label}: {figure:.3f} {contestant.unit}" + (" (practice)" if round_number == 0 else ""))
                if round_number > 0:
                    outcome.by_round[round_number] = figure
    return outcomes


def paired(first: Outcome, second: Outcome, compare: Callable[[float, float], float]) -> float | None:
    """Compare two contestants within each round; return the median, or None if one of them has no figures."""
    common = first.by_round.keys() & second.by_round.keys()
    if not common:
        return None
    return statistics.median(compare(first.by_round[number], second.by_round[number]) for number in common)
