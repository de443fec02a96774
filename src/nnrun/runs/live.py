"""Progress of long work: a live line at the end of a terminal; without a terminal, a line now and then."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from rich.cells import set_cell_size

from nnrun.base.ending import at_the_end, forget
from nnrun.base.guard import BEFORE_LAST_WORDS
from nnrun.base.meter import Meter
from nnrun.base.shown import fitting
from nnrun.base.visible import visible

_REDRAW_SECONDS = 0.1
# Without a live line, shorter work prints nothing; longer work prints a line each time it has run for a tenth longer.
_LINE_SECONDS = 5.0
_CLEAR = "\r\x1b[J"


class LiveLine:
    """A line, or a few, that are redrawn in place at the end of a terminal.

    The cursor stays at their start, and everything after the cursor is cleared, so nothing is left of a line that a
    narrowed terminal has broken into several. Other output appears above it.
    """

    def __init__(self, stream: TextIO, width: Callable[[], int]) -> None:
        self._stream = stream
        self._width = width
        self._is_drawn = False
        self._lock = threading.RLock()

    @property
    def width(self) -> int:
        """The number of characters that fit now: one less than the terminal has, since the last one may wrap."""
        return max(1, self._width() - 1)

    @property
    def height(self) -> int:
        """The number of lines that fit now."""
        try:
            return max(1, os.get_terminal_size(self._stream.fileno()).lines - 1)
        except (OSError, ValueError):
            return 1

    def draw(self, *texts: str) -> None:
        """Replace the lines that are shown; of several, as many as fit."""
        lines = [self._cut(visible(text)) for text in (texts[: self.height] if len(texts) > 1 else texts)]
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        self._write("\r" + "\x1b[K\n".join(lines) + f"\x1b[J{up}\r", is_drawn=True)

    def _cut(self, line: str) -> str:
        """Return the part of a line that fits."""
        if line.isascii() and len(line) <= self.width:
            return line
        return set_cell_size(line, min(self.width, len(line) * 2)).rstrip()

    def clear(self) -> None:
        """Remove the line."""
        if self._is_drawn:
            self._write(_CLEAR, is_drawn=False)

    def _write(self, text: str, *, is_drawn: bool) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # the next printed line notices a closed terminal
            self._stream.write(text)
            self._stream.flush()
            self._is_drawn = is_drawn

    @contextmanager
    def below_all(self) -> Iterator[None]:
        """Let the block's output on standard output and error appear above the line; remove the line at the end."""
        plain = sys.stdout, sys.stderr
        above = [_Above(stream, self) if stream.isatty() else stream for stream in plain]
        undoing = at_the_end(self.clear)
        last = partial(os.write, self._stream.fileno(), _CLEAR.encode()) if _has_number(self._stream) else self.clear
        BEFORE_LAST_WORDS.append(last)
        sys.stdout, sys.stderr = above  # type: ignore[assignment]
        try:
            yield
        finally:
            self.clear()
            BEFORE_LAST_WORDS.remove(last)
            forget(undoing)
            # Code that has replaced a stream restores it itself.
            sys.stdout = plain[0] if sys.stdout is above[0] else sys.stdout
            sys.stderr = plain[1] if sys.stderr is above[1] else sys.stderr


def _has_number(stream: TextIO) -> bool:
    """Return whether a stream has a descriptor: a program's replacement may have none."""
    try:
        stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return False
    return True


class _Above:
    """A stream whose texts appear above the live line."""

    def __init__(self, stream: TextIO, line: LiveLine) -> None:
        self._stream = stream
        self._line = line

    def write(self, text: str) -> int:
        """Remove the live line, then write."""
        self._line.clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class WorkDisplay:
    """Shows the progress of meters: in a live line, or, where there is none, in printed lines."""

    def __init__(self, live: LiveLine | None, say: Callable[[str], None]) -> None:
        self.live = live
        self._say = say
        self._works: list[Meter] = []
        self._shown = 0.0
        # A ticking meter is drawn from its own thread: its work must not end during that.
        self._lock = threading.RLock()

    def begin(self, work: Meter) -> None:
        """Register work that begins."""
        self._works.append(work)
        if self.live is None:
            self._shown = work.started

    def moved(self) -> None:
        """Show the innermost work: in the live line at most ten times a second, in printed lines every few seconds."""
        now = time.perf_counter()
        with self._lock:
            if not self._works or now - self._shown < self._seconds(now):
                return
            self._shown = now
            parts = self._works[-1].parts(now)
            if self.live is not None:
                self.live.draw(fitting(parts, self.live.width))
            else:
                self._say(fitting(parts, None))

    def said(self) -> None:
        """Postpone the next line: something else was just printed about the work."""
        self._shown = time.perf_counter()

    def _seconds(self, now: float) -> float:
        """Return the interval between two lines."""
        return _REDRAW_SECONDS if self.live else max(_LINE_SECONDS, (now - self._works[-1].started) / 10)

    def end(self, work: Meter) -> None:
        """Unregister work that has ended."""
        with self._lock:
            self._works.remove(work)
            if self.live is not None:
                self.live.clear()
