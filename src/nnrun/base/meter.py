"""How far long work has come: whoever does it counts, and whoever shows it, if anybody does, is told.

The work need not know whether there is a terminal: `with meter("decoding", len(paths)) as advance: ... advance(64)`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Advance(Protocol):
    """Takes note of how much more is done, and of how much there is in all where that is known only now."""

    def __call__(self, amount: int, total: int | None = None) -> None: ...


# How often work that cannot count is shown to be under way.
_TICK_SECONDS = 0.5


@dataclass(eq=False)
class Meter:
    """Work under way: what is done, and how much of it. `total` is None where nobody knows."""

    what: str
    total: int | None
    unit: str
    done: int = 0
    started: float = field(default_factory=time.perf_counter)
    # What says more of it than a count; each text with a number, what matters most with the lowest.
    describe: Callable[[], Sequence[tuple[int, str]]] | None = None

    def parts(self, now: float) -> Sequence[tuple[int, str]]:
        """Return the texts of a line that shows it, each with a number: what matters most has the lowest."""
        return self.describe() if self.describe else list(enumerate(self._counted(now)))

    def _counted(self, now: float) -> list[str]:
        seconds = now - self.started
        if self.total is None and not self.done:
            return [self.what, f"{seconds:.0f} s"]
        if self.unit == "bytes":
            amounts, unit, scale = f"{self.done / 1e6:,.1f}", "MB", 1e6
            amounts += f"/{self.total / 1e6:,.1f}" if self.total else ""
        else:
            amounts, unit, scale = f"{self.done:,}" + (f"/{self.total:,}" if self.total else ""), self.unit, 1.0
        rate = self.done / max(seconds, 1e-9)
        parts = [self.what, f"{amounts} {unit}", f"{rate / scale:,.0f} {unit}/s"]
        if self.total and self.done:
            parts.append(f"{clock(max(0, self.total - self.done) / rate)} left")
        return parts


def clock(seconds: float) -> str:
    """Return a time as a clock shows it: `0:07`, `2:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display(Protocol):
    """Who shows work under way."""

    def begin(self, work: Meter) -> None:
        """Take note of work that begins, perhaps in the midst of other work."""
        ...

    def moved(self) -> None:
        """Show the innermost work as it stands, if it is time to."""
        ...

    def end(self, work: Meter) -> None:
        """Take note of work that is over, however it ended."""
        ...


# Of this thread alone, as the way in which nnrun was called is.
_DISPLAY: ContextVar[Display | None] = ContextVar("_DISPLAY", default=None)


@contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Have the work in the block shown."""
    token = _DISPLAY.set(display)
    try:
        yield
    finally:
        _DISPLAY.reset(token)


@contextmanager
def meter(what: str, total: int | None = None, unit: str = "samples", *, ticks: bool = False) -> Iterator[Advance]:
    """Yield what the work tells how much more of it is done; `ticks`: it is one call, which tells nothing."""
    display = _DISPLAY.get()
    if display is None:
        yield _told_nobody
        return
    work = Meter(what, total, unit)

    def advance(amount: int, total: int | None = None) -> None:
        work.done, work.total = work.done + amount, work.total if total is None else total
        display.moved()

    display.begin(work)
    is_over = threading.Event()
    if ticks:
        threading.Thread(target=_tick, args=(display, is_over), daemon=True).start()
    try:
        yield advance
    finally:
        is_over.set()
        display.end(work)


def counting(items: Iterable[Item], advance: Advance, size: Callable[[Item], int]) -> Iterator[Item]:
    """Yield items, and tell of each how much was done with it."""
    for item in items:
        yield item
        advance(size(item))


def _told_nobody(amount: int, total: int | None = None) -> None:
    """Take note of work that nobody shows."""


def _tick(display: Display, is_over: threading.Event) -> None:
    while not is_over.wait(_TICK_SECONDS):
        display.moved()
