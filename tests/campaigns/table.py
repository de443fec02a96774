"""The table of campaigns, and how they are run one after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from campaigns import calls, damage, damaged_manifests, disk, hostile, kills
from campaigns.campaign import Arena, Result
from campaigns.command import Main
from campaigns.hangs import hangs
from campaigns.nursery import Nursery
from campaigns.ranks import ranks
from campaigns.sweeps import sweeps


@dataclass(frozen=True)
class Campaign:
    """What is tried, what must come of it, and how often; of the campaigns that go through calls, 0 means each."""

    run: Callable[[Arena, int], Result]
    promise: str
    tries: int

    @property
    def name(self) -> str:
        """The name by which the command line chooses it."""
        return self.run.__name__


# A new campaign joins with a line here, a new feature with a line in variants.VARIANTS, a hostile file with one in
# strangers/.
CAMPAIGNS = (
    Campaign(kills.random_kills, "a killed run goes on to the same bits", 300),
    Campaign(kills.signals, "a stopped run saves, and goes on to the same bits", 150),
    Campaign(sweeps, "a killed sweep is resumed to the same table, job for job", 50),
    Campaign(ranks, "a run in several processes that loses any of them goes on to the same bits", 60),
    Campaign(hangs, "a command that is stopped ends within seconds, wherever it is, and leaves nothing", 300),
    Campaign(calls.kill_at_each_call, "a save that is killed leaves the old checkpoint or the new one", 0),
    Campaign(calls.kill_run_at_each_call, "a run that is killed at a call to the disk goes on to the same bits", 0),
    Campaign(disk.disk_full, "a full disk leaves what was saved", 60),
    Campaign(calls.failing_fsync, "a disk that fails leaves what was saved", 0),
    Campaign(disk.read_only, "a folder that may not be written leaves what was saved", 20),
    Campaign(damage.flipped_bits, "a checkpoint with one bit flipped is refused", 800),
    Campaign(damage.truncations, "a checkpoint cut short is refused", 300),
    Campaign(damage.zeroed_tails, "a checkpoint with a tail of zeros is refused", 200),
    Campaign(damage.zeroed_pages, "a checkpoint with a page of zeros is refused", 200),
    Campaign(damaged_manifests.damaged_manifests, "a damaged manifest is refused, or means what it meant", 200),
    Campaign(hostile.hostile_files, "a hostile file is refused, and nothing of it runs", 10_000),
)


class Done(NamedTuple):
    """A campaign, what it found, and how long it took."""

    campaign: Campaign
    result: Result
    seconds: float


def run_campaigns(
    main: Main, folder: Path, names: Sequence[str] = (), seed: int = 0, tries: int | None = None
) -> Iterator[Done]:
    """Run the campaigns named (none: all), each in a folder of its own below `folder`, as often as the table says.

    `tries` is how often each is tried instead.
    """
    shelf = folder / "shelf"
    shelf.mkdir()
    with Nursery() as nursery:
        for campaign in CAMPAIGNS:
            if names and campaign.name not in names:
                continue
            arena = Arena(folder / campaign.name, main, seed, nursery, shelf)
            arena.folder.mkdir()
            start = time.perf_counter()
            result = campaign.run(arena, campaign.tries if tries is None else tries)
            yield Done(campaign, result, time.perf_counter() - start)
            shutil.rmtree(arena.folder, ignore_errors=True)
