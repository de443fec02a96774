"""Show how a prediction goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nnrun.runs.console import Console

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 10.0
# A narrower terminal is shown no bar, rather than the beginnings of the figures.
_WIDE = 100


class PredictionProgress:
    """Count images; `total` is how many there are in all."""

    def __init__(self, console: Console, total: int, *, bar: bool) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._start = self._shown = time.perf_counter()
        self._bar: Progress | None = None
        if bar:
            is_wide = console.rich.width >= _WIDE
            # Drawn when it is told to: a thread of its own would cost time.
            self._bar = Progress(
                TextColumn("predicting"),
                *([BarColumn(bar_width=None)] if is_wide else []),
                TextColumn("{task.completed:,}/{task.total:,}  {task.fields[speed]}"),
                TimeRemainingColumn(compact=True),
                console=console.rich,
                transient=True,
                auto_refresh=False,
                expand=is_wide,
            )
            self._bar.start()
            self._task = self._bar.add_task("predicting", total=total, speed="")

    @property
    def seconds(self) -> float:
        """How long it has been going."""
        return time.perf_counter() - self._start

    def advance(self, count: int) -> None:
        """Take note of images that are done."""
        self._done += count
        now = time.perf_counter()
        if now - self._shown < (_REDRAW_SECONDS if self._bar else _LINE_SECONDS):
            return
        self._shown = now
        speed = f"{self._done / self.seconds:,.0f} samples/s"
        if self._bar:
            self._bar.update(self._task, completed=self._done, speed=speed)
            self._bar.refresh()
        else:
            self._console.say(f"predicted {self._done:,} of {self._total:,}  {speed}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
