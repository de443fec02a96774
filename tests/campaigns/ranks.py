"""The campaign against the promise that a run in several processes that loses any of them goes on to the same bits."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from campaigns.campaign import Arena, Broken, Result, counting, nursery_of
from campaigns.nursery import Child
from campaigns.subject import Subject, expect, state_of, undisturbed, wait_until_running
from nnrun import cli
from nnrun.base.errors import ResourceError
from nnrun.base.guard import guard, watch

# Variants, each with its number of processes and what they have of the network: what ranks draw, share and average.
_VARIANTS = (
    ("plain", 2, "ddp"),
    ("many at once", 2, "fsdp"),
    ("many at once", 2, "ddp"),
    ("cnn", 3, "ddp"),
    ("cnn", 3, "fsdp"),
    ("stream", 2, "ddp"),
    ("skip", 2, "ddp"),
)
# How long ranks may outlive the process that started them, and a run the process that it lost.
_ORPHAN_SECONDS, _LOSS_SECONDS = 1.0, 30.0

_Disturbance = Callable[[Child, Path, random.Random], None]


def ranks(arena: Arena, count: int) -> Result:
    """Kill one rank, all of them, or the process that started them, or stop a rank; then let the run go on."""
    draw, subjects, names = arena.draw, dict[tuple[str, int, str], Subject](), _VARIANTS
    result = Result("several processes")
    arena = replace(arena, main=main_of_a_command) if arena.main is cli.main else arena
    with nursery_of(arena) as nursery:
        for number in range(count):
            name, disturb = names[number % len(names)], _DISTURBANCES[number % len(_DISTURBANCES)]
            variant, size, strategy = name
            with counting(result, f"{variant} ({strategy}), {getattr(disturb, '__name__', '').strip('_')}, {number}"):
                if name not in subjects:
                    subjects[name] = undisturbed(
                        arena, nursery, variant, f"trainer.devices={size}", f"trainer.strategy={strategy}"
                    )
                _disturb(subjects[name], arena.folder / f"run{number}", draw, disturb)
    return result


def main_of_a_command(words: Sequence[str]) -> int:
    """Run a command as its own process does, which may be divided."""
    guard()
    watch()
    return cli.main(words)


def _disturb(subject: Subject, run: Path, draw: random.Random, disturb: _Disturbance) -> None:
    """Disturb a run at a random moment, and finish it."""
    child = subject.start(run)
    wait_until_running(child, run)
    time.sleep(draw.uniform(0, subject.running_seconds))
    disturb(child, run, draw)
    subject.finish(run)


def _kill_one(child: Child, run: Path, draw: random.Random) -> None:
    """Kill a rank: the run ends soon, with a code that says it."""
    started = ranks_of(child.pid)
    if started:
        _kill(draw.choice(started))
    begun = time.monotonic()
    code = expect(child, 0, ResourceError.exit_code)
    if time.monotonic() - begun > _LOSS_SECONDS:
        raise Broken("unexplained", f"the run ended {time.monotonic() - begun:.0f} s after a rank was killed")
    if code and "was killed (SIGKILL)" not in child.stderr:
        raise Broken("unexplained", f"stderr does not name the rank: {child.stderr.strip()}")
    if (state_of(run) == "finished") != (code == 0):
        raise Broken("unexplained", f"exit code {code}, and status.json says {state_of(run)!r}")


def _kill_all(child: Child, _run: Path, _draw: random.Random) -> None:
    """Kill every rank."""
    for pid in ranks_of(child.pid):
        _kill(pid)
    expect(child, 0, ResourceError.exit_code)


def _kill_launcher(child: Child, _run: Path, _draw: random.Random) -> None:
    """Kill the process that started them: they end with it."""
    started = ranks_of(child.pid)
    child.send(signal.SIGKILL)
    expect(child, 0, -signal.SIGKILL)
    begun = time.monotonic()
    while any(map(_is_alive, started)):
        if time.monotonic() - begun > _ORPHAN_SECONDS:
            raise Broken("unexplained", "ranks outlive the process that started them")
        time.sleep(0.01)


def _stop_one(child: Child, run: Path, draw: random.Random) -> None:
    """Send a signal to a rank."""
    sent = draw.choice([signal.SIGTERM, signal.SIGINT])
    if started := ranks_of(child.pid):
        with suppress(ProcessLookupError):
            os.kill(draw.choice(started), sent)
    code = expect(child, 0, 128 + sent)
    if (state_of(run) == "finished") != (code == 0):
        raise Broken("unexplained", f"{sent.name}: exit code {code}, and status.json says {state_of(run)!r}")


_DISTURBANCES = (_kill_one, _kill_all, _kill_launcher, _stop_one)


def ranks_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
