"""The table of campaigns, and how they are run one after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnrun.tasks.doctor import calls, damage, damaged_manifests, disk, hostile, kills
from nnrun.tasks.doctor.campaign import Arena, Result
from nnrun.tasks.doctor.command import Main
from nnrun.tasks.doctor.hangs import hangs
from nnrun.tasks.doctor.nursery import Nursery


@dataclass(frozen=True)
class Campaign:
    """What is tried, what must come of it, and how often: in `task=doctor`, and in full (`make torture`).

    Of the campaigns that go through calls, 0 means each of them.
    """

    run: Callable[[Arena, int], Result]
    promise: str
    short: int
    full: int


# A new campaign joins with a line here, a new feature with a line in variants.VARIANTS, a hostile file with one in
# strangers/.
CAMPAIGNS = (
    Campaign(kills.random_kills, "a killed run goes on to the same bits", 3, 300),
    Campaign(kills.signals, "a stopped run saves, and goes on to the same bits", 2, 150),
    Campaign(hangs, "a command that is stopped ends within seconds, wherever it is, and leaves nothing", 2, 300),
    Campaign(calls.kill_at_each_call, "a save that is killed leaves the old checkpoint or the new one", 4, 0),
    Campaign(calls.kill_run_at_each_call, "a run that is killed at a call to the disk goes on to the same bits", 2, 0),
    Campaign(disk.disk_full, "a full disk leaves what was saved", 2, 60),
    Campaign(calls.failing_fsync, "a disk that fails leaves what was saved", 2, 0),
    Campaign(disk.read_only, "a folder that may not be written leaves what was saved", 1, 20),
    Campaign(damage.flipped_bits, "a checkpoint with one bit flipped is refused", 100, 800),
    Campaign(damage.truncations, "a checkpoint cut short is refused", 50, 300),
    Campaign(damage.zeroed_tails, "a checkpoint with a tail of zeros is refused", 25, 200),
    Campaign(damage.zeroed_pages, "a checkpoint with a page of zeros is refused", 25, 200),
    Campaign(damaged_manifests.damaged_manifests, "a damaged manifest is refused, or means what it meant", 25, 200),
    Campaign(hostile.hostile_files, "a hostile file is refused, and nothing of it runs", 40, 10_000),
)


class Done(NamedTuple):
    """A campaign, what it found, and how long it took."""

    campaign: Campaign
    result: Result
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Which campaigns are run, by the names of their functions (none: all), and how: in short, in full, or N tries."""

    full: bool = False
    seed: int = 0
    names: Sequence[str] = ()
    tries: int | None = None

    def count(self, campaign: Campaign) -> int:
        """Return how often something is tried."""
        if self.tries is not None:
            return self.tries
        return campaign.full if self.full else campaign.short


def run_campaigns(main: Main, folder: Path, plan: Plan) -> Iterator[Done]:
    """Run each campaign of a plan in a folder of its own below `folder`."""
    shelf = folder / "shelf"
    shelf.mkdir()
    with Nursery() as nursery:
        for campaign in CAMPAIGNS:
            name = campaign.run.__name__
            if plan.names and name not in plan.names:
                continue
            arena = Arena(folder / name, main, plan.seed, nursery, shelf)
            arena.folder.mkdir()
            start = time.perf_counter()
            result = campaign.run(arena, plan.count(campaign))
            yield Done(campaign, result, time.perf_counter() - start)
            shutil.rmtree(arena.folder, ignore_errors=True)
