"""A short sweep, what it comes to when nobody disturbs it, and whether a disturbed one comes to the same."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from campaigns.campaign import Arena, Broken
from campaigns.command import Command, Main
from campaigns.nursery import Child, Nursery
from campaigns.subject import compare, expect
from campaigns.variants import WORDS
from nnrun.base.errors import ConfigError
from nnrun.base.files import TEMPORARY_SUFFIX
from nnrun.sweeps.winner import FOLDER as STACKED

_SHORT = ("-m", *WORDS, "trainer.epochs=2", "report=none")
_GRID = (*_SHORT, "optimizer.lr=1e-3,3e-3", "seed=0,1")
# Which trials ASHA pauses depends on the order in which they report: only one after another is it always the same.
SWEEPS: dict[str, tuple[str, ...]] = {
    "one by one": (*_GRID, "sweep.parallel=1"),
    "side by side": (*_GRID, "sweep.parallel=2"),
    "stacked": (*_GRID, "sweep.stack=true", "sweep.parallel=1"),
    "asha": (
        *_SHORT,
        "sweep=random",
        "sweep.trials=5",
        "sweep.prune=asha",
        "sweep.parallel=1",
        "optimizer.lr=interval(1e-3,1e-1)",
    ),
}
# What differs between two runs of one sweep.
_OWN_COLUMNS = ("seconds", "directory")
# Processes that outlived their sweep save, and end.
_OUTLIVED_SECONDS = 20.0
LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Swept:
    """A sweep, what it comes to when nobody disturbs it, and how long it takes; `running_seconds` is without the start.

    `folder` is where it is run.
    """

    main: Main
    nursery: Nursery
    words: tuple[str, ...]
    whole: Path
    folder: Path
    seconds: float = 0.0
    running_seconds: float = 0.0

    @property
    def seen(self) -> Path:
        """The folder, as this process sees it."""
        return self.nursery.seen(self.folder)

    def start(self) -> Child:
        """Start the sweep, or, if it has a record, resume it."""
        words = ["-m", f"resume={self.folder}"] if self.has_record else [*self.words, f"hydra.sweep.dir={self.folder}"]
        return self.nursery.start(Command(self.main, self.folder.parent, words))

    @property
    def has_record(self) -> bool:
        """Whether there is a record to resume from."""
        return (self.seen / "sweep.json").exists()

    def check_record(self) -> None:
        """Raise Broken unless sweep.json and sweep.csv are whole, where they are there."""
        try:
            if self.has_record:
                json.loads((self.seen / "sweep.json").read_text())["jobs"]
            if (self.seen / "sweep.csv").exists():
                _table(self.seen)
        except (ValueError, KeyError) as error:
            raise Broken("lost", f"the record is not whole: {error!r}") from error

    def watch(self, child: Child, seconds: float) -> None:
        """Read the record again and again for some time, at most until the end."""
        deadline = time.monotonic() + seconds
        while child.is_alive() and time.monotonic() < deadline:
            self.check_record()
            time.sleep(LOOK_SECONDS)

    def wait_for_a_moment(self, child: Child, draw: random.Random) -> None:
        """Wait for a random moment of the sweep; most are among its jobs, after the start."""
        if draw.random() < 1 / 4:
            self.watch(child, draw.uniform(0, self.seconds))
            return
        while child.is_alive() and not self.has_record:
            time.sleep(LOOK_SECONDS)
        self.watch(child, draw.uniform(0, self.running_seconds))

    def finish(self) -> None:
        """Resume the sweep to its end, and compare it with the whole one; raise Broken.

        One without a record must say so when it is resumed; it is then started afresh.
        """
        self.check_record()
        if not self.has_record:
            command = Command(self.main, self.folder.parent, ["-m", f"resume={self.folder}"])
            expect(self.nursery.start(command), ConfigError.exit_code)
            shutil.rmtree(self.seen, ignore_errors=True)
        last = self.start()
        expect(last, 0)
        compare_sweeps(self.seen, self.whole)
        check_nothing_runs(last)
        shutil.rmtree(self.seen)


def _table(folder: Path) -> list[dict[str, str]]:
    """Return sweep.csv without what differs between two runs of one sweep; raise ValueError if a row is torn."""
    content = (folder / "sweep.csv").read_text()
    rows = list(csv.reader(io.StringIO(content)))
    if not rows or not content.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"sweep.csv ends in {content[-60:]!r}")
    named = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return [{key: value for key, value in row.items() if key not in _OWN_COLUMNS} for row in named]


def compare_sweeps(ours: Path, theirs: Path) -> None:
    """Raise Broken unless two sweeps ended with the same jobs, table and checkpoints, and nothing temporary is left."""
    table, whole_table = _table(ours), _table(theirs)
    jobs, whole_jobs = (sorted(row["job"] for row in it) for it in (table, whole_table))
    if jobs != whole_jobs:
        raise Broken("lost", f"sweep.csv has the jobs {', '.join(jobs)} instead of {', '.join(whole_jobs)}")
    folders, whole_folders = map(_runs, (ours, theirs))
    if folders != whole_folders:
        raise Broken("lost", f"there are the runs {', '.join(folders)} instead of {', '.join(whole_folders)}")
    for row, whole_row in zip(table, whole_table, strict=True):
        if row != whole_row:
            keys = [key for key in whole_row | row if row.get(key) != whole_row.get(key)]
            told = ", ".join(f"{key} {row.get(key)!r} instead of {whole_row.get(key)!r}" for key in keys)
            raise Broken("different", f"job {row.get('job')} in sweep.csv has {told}")
    record, whole_record = (json.loads((it / "sweep.json").read_text()) for it in (ours, theirs))
    for key in ("state", "told"):
        if record[key] != whole_record[key]:
            raise Broken("different", f"sweep.json has {key} {record[key]} instead of {whole_record[key]}")
    for name in folders:
        # What a search ended early has no summary.
        if (theirs / name / "summary.json").exists():
            compare(ours / name, theirs / name)
    if leftovers := [str(path.relative_to(ours)) for path in ours.rglob(f".*{TEMPORARY_SUFFIX}")]:
        raise Broken("unexplained", f"temporary files are left: {', '.join(leftovers)}")


def _runs(folder: Path) -> list[str]:
    """Return the runs of a sweep: those of its jobs, and those in a stack of jobs that were trained again."""
    found = (*folder.glob("*/run.log"), *folder.glob(f"{STACKED}/*/run.log"))
    return sorted(str(path.parent.relative_to(folder)) for path in found)


def group_of(child: Child) -> list[tuple[int, int]]:
    """Return the pids in the child's group, each with its parent's. Linux only."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, group = path.read_text().rpartition(")")[2].split()[:3]
            if int(group) == child.pid and state != "Z":
                found.append((int(path.parent.name), int(parent)))
    return found


def workers_of(child: Child) -> list[int]:
    """Return the pids of the processes of jobs: the grandchildren."""
    group = group_of(child)
    starters = {pid for pid, parent in group if parent == child.pid}
    return [pid for pid, parent in group if parent in starters]


def check_nothing_runs(child: Child) -> None:
    """Raise Broken where a process of a sweep that has ended does not end soon."""
    deadline = time.monotonic() + _OUTLIVED_SECONDS
    while group := group_of(child):
        if time.monotonic() > deadline:
            os.killpg(child.pid, signal.SIGKILL)
            raise Broken("unexplained", f"{len(group)} processes outlived their sweep")
        time.sleep(LOOK_SECONDS)


def undisturbed(arena: Arena, nursery: Nursery, name: str) -> Swept:
    """Return a sweep that was run once from the start to the end."""
    folder = arena.folder / f"whole-{name.replace(' ', '-')}"
    swept = Swept(arena.main, nursery, SWEEPS[name], folder, folder)
    begun = time.monotonic()
    child = swept.start()
    while child.is_alive() and not swept.has_record:
        time.sleep(LOOK_SECONDS)
    running = time.monotonic()
    expect(child, 0)
    ended = time.monotonic()
    return replace(swept, seconds=ended - begun, running_seconds=ended - running)
