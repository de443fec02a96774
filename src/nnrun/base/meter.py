"""Progress of long work: the code that does the work counts, and a display shows it, if there is one.

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
    """Adds to the amount done; sets the total, if it becomes known only now."""

    def __call__(self, amount: int, total: int | None = None) -> None: ...


# How often the display of work that cannot count is refreshed.
_TICK_SECONDS = 0.5


@dataclass(eq=False)
class Meter:
    """Work in progress: the amount done, and the total; None if it is unknown."""

    what: str
    total: int | None
    unit: str
    done: int = 0
    started: float = field(default_factory=time.perf_counter)
    # Texts to show instead of a count, each with a priority; the most important has the lowest number.
    describe: Callable[[], Sequence[tuple[int, str]]] | None = None

    def parts(self, now: float) -> Sequence[tuple[int, str]]:
        """Return the texts of the progress line, each with a priority: the most important has the lowest number."""
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
    """Return a duration as a clock shows it: `0:07`, `2:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display(Protocol):
    """Shows work in progress."""

    def begin(self, work: Meter) -> None:
        """Note that work begins, perhaps inside other work."""
        ...

    def moved(self) -> None:
        """Refresh the line of the innermost work, if it is time to."""
        ...

    def end(self, work: Meter) -> None:
        """Note that work is over, however it ended."""
        ...


# Per thread, like the invocation.
_DISPLAY: ContextVar[Display | None] = ContextVar("_DISPLAY", default=None)


@contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Show the work in the block on a display."""
    token = _DISPLAY.set(display)
    try:
        yield
    finally:
        _DISPLAY.reset(token)


@contextmanager
def meter(what: str, total: int | None = None, unit: str = "samples", *, ticks: bool = False) -> Iterator[Advance]:
    """Yield the function to report progress with; `ticks`: the work is a single call, which reports nothing."""
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
    """Yield items, and report the size of each as done once it was used."""
    for item in items:
        yield item
        advance(size(item))


def _told_nobody(amount: int, total: int | None = None) -> None:
    """Ignore progress that no display shows."""


def _tick(display: Display, is_over: threading.Event) -> None:
    while not is_over.wait(_TICK_SECONDS):
        display.moved()
