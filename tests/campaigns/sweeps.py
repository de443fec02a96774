"""A campaign against the promise that a sweep which is killed at any moment is resumed to the same table."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from campaigns.campaign import Arena, Broken, Result, counting, nursery_of
from campaigns.disk import FULL, SmallDisk, mounting
from campaigns.nursery import Child, Nursery
from campaigns.subject import expect
from campaigns.swept import (
    LOOK_SECONDS,
    SWEEPS,
    Swept,
    check_nothing_runs,
    group_of,
    undisturbed,
    workers_of,
)
from nnrun.base.errors import ResourceError, SweepFailed

# How a sweep that runs is disturbed.
Way = Callable[[Swept, Child, random.Random], None]


def _kill(_swept: Swept, child: Child, _draw: random.Random) -> None:
    """SIGKILL to the sweep; the processes of its jobs outlive it for a moment."""
    child.send(signal.SIGKILL)
    expect(child, 0, -signal.SIGKILL)


def _kill_all(_swept: Swept, child: Child, _draw: random.Random) -> None:
    """SIGKILL to the sweep and all of its processes."""
    child.kill()
    expect(child, 0, -signal.SIGKILL)


def _kill_with_worker(_swept: Swept, child: Child, draw: random.Random) -> None:
    """SIGKILL to the process of a job and to the sweep, but not to the others."""
    _kill_one(workers_of(child), draw)
    child.send(signal.SIGKILL)
    expect(child, 0, -signal.SIGKILL)


def _kill_worker(swept: Swept, child: Child, draw: random.Random) -> None:
    """SIGKILL to the process of a job, once in three times soon to another; a job that is killed twice has failed."""
    while not (workers := workers_of(child)) and child.is_alive():
        swept.watch(child, LOOK_SECONDS)
    _kill_one(workers, draw)
    if draw.random() < 1 / 3:
        swept.watch(child, draw.uniform(0, 3))
        _kill_one(workers_of(child), draw)
    expect(child, 0, SweepFailed.exit_code)


def _terminate_worker(swept: Swept, child: Child, draw: random.Random) -> None:
    """SIGTERM to the process of a job: the others go on, and the sweep says that it is not complete."""
    while not (workers := workers_of(child)) and child.is_alive():
        swept.watch(child, LOOK_SECONDS)
    _kill_one(workers, draw, signal.SIGTERM)
    expect(child, 0, 128 + signal.SIGTERM)


def _kill_starter(_swept: Swept, child: Child, draw: random.Random) -> None:
    """SIGKILL to the process that starts those of the jobs."""
    _kill_one([pid for pid, parent in group_of(child) if parent == child.pid], draw)
    expect(child, 0, SweepFailed.exit_code)


def _kill_one(pids: list[int], draw: random.Random, number: int = signal.SIGKILL) -> None:
    """Send a signal to one of some processes, if there are any."""
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice(pids), number)


def _terminate(_swept: Swept, child: Child, _draw: random.Random) -> None:
    """SIGTERM to the sweep."""
    child.send(signal.SIGTERM)
    expect(child, 0, 128 + signal.SIGTERM, -signal.SIGTERM)
    check_nothing_runs(child)


def _interrupt(_swept: Swept, child: Child, _draw: random.Random) -> None:
    """Ctrl-C, as a terminal sends it: to all."""
    child.send(signal.SIGINT, to_all=True)
    expect(child, 0, 128 + signal.SIGINT, -signal.SIGINT)
    check_nothing_runs(child)


WAYS: dict[str, Way] = {
    "SIGKILL": _kill,
    "SIGKILL of a worker": _kill_worker,
    "SIGTERM": _terminate,
    "SIGKILL of all": _kill_all,
    "SIGKILL with a worker": _kill_with_worker,
    "SIGKILL of the starter": _kill_starter,
    "SIGINT of all": _interrupt,
    "SIGTERM of a worker": _terminate_worker,
}
# What only the sweep whose jobs have processes can be disturbed by.
_OF_WORKERS = (
    "SIGKILL of a worker",
    "SIGKILL of all",
    "SIGKILL with a worker",
    "SIGKILL of the starter",
    "SIGTERM of a worker",
)


def sweeps(arena: Arena, count: int) -> Result:
    """Kill sweeps and their processes at random moments, sometimes their resumption too; let others fill a disk."""
    result, draw, known = Result("sweeps, killed or with a full disk"), arena.draw, dict[str, Swept]()
    disk_ways = [] if count <= len(WAYS) else ["disk full"]
    ways = [(sweep, way) for way in [*WAYS, *disk_ways] for sweep in SWEEPS if _is_possible(sweep, way)]
    folder = arena.folder / "small"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        nursery = stack.enter_context(nursery_of(arena))
        small = None
        if disk_ways:
            try:
                small = SmallDisk(stack.enter_context(Nursery(mounting(folder))), folder)
            except (ChildProcessError, FileNotFoundError) as error:
                result.notes.append(f"no small disk could be mounted: {error}")
                ways = [(sweep, way) for sweep, way in ways if way in WAYS]
        for number, (sweep, way) in zip(range(count), itertools.cycle(ways), strict=False):
            with counting(result, f"{sweep}, {way}, {number}"):
                if sweep not in known:
                    known[sweep] = undisturbed(arena, nursery, sweep)
                swept = replace(known[sweep], folder=arena.folder / f"sweep{number}")
                if way in WAYS:
                    _disturb(swept, WAYS[way], draw)
                else:
                    assert small is not None, "the disk could be mounted"
                    _fill_disk(replace(swept, nursery=small.nursery, folder=folder / f"sweep{number}"), small, draw)
    return result


def _is_possible(sweep: str, way: str) -> bool:
    return sweep == "side by side" or way not in _OF_WORKERS


def _disturb(swept: Swept, way: Way, draw: random.Random) -> None:
    """Disturb a sweep and, once in three times, its resumption too, and again; then finish it."""
    while True:
        child = swept.start()
        swept.wait_for_a_moment(child, draw)
        way(swept, child, draw)
        swept.check_record()
        if not swept.has_record or draw.random() < 2 / 3:
            break
    swept.finish()


def _fill_disk(swept: Swept, small: SmallDisk, draw: random.Random) -> None:
    """Leave no room, not even what the sweep itself frees, from a random moment on; then make room, and finish it."""
    small.make_room()
    child = swept.start()
    swept.wait_for_a_moment(child, draw)
    while child.is_alive():
        small.fill()
        swept.check_record()
        time.sleep(LOOK_SECONDS)
    code = expect(child, 0, ResourceError.exit_code, SweepFailed.exit_code)
    if code and FULL not in child.stderr:
        raise Broken("unexplained", f"stderr does not say {FULL!r}: {child.stderr.strip()}")
    small.make_room()
    swept.finish()
