"""What a campaign is given, and what it found."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.command import Main
from campaigns.nursery import Nursery


@dataclass(frozen=True)
class Arena:
    """Where a campaign takes place: an empty folder of its own, the program, and the seed of what it draws."""

    folder: Path
    main: Main
    seed: int = 0
    # Shared by the campaigns that start processes; without it each of them brings up its own, which takes seconds.
    nursery: Nursery | None = None
    # Where campaigns keep runs that they only look at, for one another; without it, each in its own folder.
    shelf: Path | None = None

    @property
    def draw(self) -> random.Random:
        """A fresh source of random numbers: two campaigns with one seed try the same."""
        return random.Random(self.seed)

    def shelved(self, name: str) -> Path:
        """Return where a run that is only looked at is kept; who finds nothing there puts it there."""
        return (self.shelf or self.folder).resolve() / name


@dataclass
class Result:
    """How often something was tried, and how often a promise was broken: each of these must be 0.

    `lost`: what was saved could not be had again. `different`: other bits, without a word. `ran`: a stranger's code
    ran. `unexplained`: it ended otherwise than promised, by another exit code or a traceback.
    """

    name: str
    tried: int = 0
    lost: int = 0
    different: int = 0
    ran: int = 0
    unexplained: int = 0
    # What was found, for people: the first failures; or why nothing could be tried here.
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.different or self.ran or self.unexplained)

    def line(self) -> str:
        """Return the campaign in one line."""
        if not self.tried:
            return f"{self.name}: not tried; {'; '.join(self.notes)}"
        counts = (
            f"{self.lost} lost, {self.different} silently different, {self.ran} run, {self.unexplained} unexplained"
        )
        return f"{self.name}: {self.tried} tried; {counts}" + "".join(f"; {note}" for note in self.notes[:3])


class Broken(Exception):
    """A promise was broken; `kind` is the count of a Result that it belongs to."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@contextlib.contextmanager
def counting(result: Result, name: str, tries: int = 1) -> Iterator[None]:
    """Count what is tried in the block, and the promise that breaks there."""
    result.tried += tries
    try:
        yield
    except Broken as broken:
        setattr(result, broken.kind, getattr(result, broken.kind) + 1)
        result.notes.append(f"{name}: {broken}")


@contextlib.contextmanager
def nursery_of(arena: Arena) -> Iterator[Nursery]:
    """Yield the arena's nursery, or one that lives as long as the block."""
    if arena.nursery is not None:
        yield arena.nursery
    else:
        with Nursery() as nursery:
            yield nursery
