"""The line at the end of a terminal that shows what is under way; without a terminal, a line now and then."""

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
# Work that takes less is not worth a line where none can be drawn again; later a line is due at each tenth of the time.
_LINE_SECONDS = 5.0
_CLEAR = "\r\x1b[J"


class LiveLine:
    """A line that is drawn again and again at the end of a terminal.

    The cursor waits at its beginning, and what lies behind the cursor is cleared: so nothing is left over of a line
    that the terminal, narrowed meanwhile, has broken into several. What is written elsewhere comes above it.
    """

    def __init__(self, stream: TextIO, width: Callable[[], int]) -> None:
        self._stream = stream
        self._width = width
        self._is_drawn = False
        self._lock = threading.RLock()

    @property
    def width(self) -> int:
        """How many characters it has room for now: one less than the terminal, whose last would break the line."""
        return max(1, self._width() - 1)

    def draw(self, text: str) -> None:
        """Show a text in the place of the one before."""
        text = visible(text)
        if not text.isascii() or len(text) > self.width:
            text = set_cell_size(text, min(self.width, len(text) * 2)).rstrip()
        self._write(f"\r{text}\x1b[J\r", is_drawn=True)

    def clear(self) -> None:
        """Take it away."""
        if self._is_drawn:
            self._write(_CLEAR, is_drawn=False)

    def _write(self, text: str, *, is_drawn: bool) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # a terminal that is gone is noticed by what is said
            self._stream.write(text)
            self._stream.flush()
            self._is_drawn = is_drawn

    @contextmanager
    def below_all(self) -> Iterator[None]:
        """Let what the block writes to standard output and error come above it; behind the block it is gone."""
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
            # Who has put another in its place puts it back.
            sys.stdout = plain[0] if sys.stdout is above[0] else sys.stdout
            sys.stderr = plain[1] if sys.stderr is above[1] else sys.stderr


def _has_number(stream: TextIO) -> bool:
    """Return whether a stream has a descriptor: one that a program has put in its place may have none."""
    try:
        stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return False
    return True


class _Above:
    """A stream whose texts come above the live line."""

    def __init__(self, stream: TextIO, line: LiveLine) -> None:
        self._stream = stream
        self._line = line

    def write(self, text: str) -> int:
        """Write, once the live line is away."""
        self._line.clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class WorkDisplay:
    """Shows the work of meters: in a live line, or, where there is none, by saying a line."""

    def __init__(self, live: LiveLine | None, say: Callable[[str], None]) -> None:
        self.live = live
        self._say = say
        self._works: list[Meter] = []
        self._shown = 0.0
        # Work that ticks moves in a thread of its own: it must not be over in the midst of that.
        self._lock = threading.RLock()

    def begin(self, work: Meter) -> None:
        """Take note of work that begins."""
        self._works.append(work)
        if self.live is None:
            self._shown = work.started

    def moved(self) -> None:
        """Show the innermost work, ten times a second at most; as lines, every few seconds."""
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
        """Take note that something else was just said of the work: the next line is due later."""
        self._shown = time.perf_counter()

    def _seconds(self, now: float) -> float:
        """Return how long after a line the next one is due."""
        return _REDRAW_SECONDS if self.live else max(_LINE_SECONDS, (now - self._works[-1].started) / 10)

    def end(self, work: Meter) -> None:
        """Take note of work that is over."""
        with self._lock:
            self._works.remove(work)
            if self.live is not None:
                self.live.clear()
