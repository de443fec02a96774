"""The console of a run: lines and tables on the terminal, live progress, and the same lines in run.log."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from rich.console import Console as RichConsole

from nnrun.base.errors import ResourceError
from nnrun.base.invocation import invocation
from nnrun.base.meter import shown_by
from nnrun.base.secrets import hide_known
from nnrun.base.shown import fitting
from nnrun.base.visible import visible, wrapped
from nnrun.runs.live import LiveLine, WorkDisplay
from nnrun.runs.sheet import Sheet, unfilled

PLAIN_WIDTH = 120


def _nobody_reads() -> ResourceError:
    """Return the error for a closed standard output; discard the rest of its buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ResourceError("standard output was closed during the run; its checkpoints are intact: continue with resume=")


class _RichConsole(RichConsole):
    """Rich's console, with an error of ours for a closed standard output: rich would end the process with code 1."""

    def on_broken_pipe(self) -> None:
        raise _nobody_reads()


def _say_nothing(_: str) -> None:
    """Show no progress."""


def _width_of(stream: TextIO) -> int:
    """Return the width of the terminal behind a stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


class Console:
    """Print lines and tables to standard output; after `log_to`, also to the run's log, without colors."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        # In a notebook, rich would turn each line into an HTML table.
        self.rich = _RichConsole(highlight=False, width=width, quiet=invocation().is_quiet, force_jupyter=False)
        if self.rich.is_dumb_terminal:  # rich would assume 80 columns
            self.rich.size = shutil.get_terminal_size()
        self._log: IO[str] | None = None
        # Texts that are hidden in all output.
        self.secrets: Collection[str] = ()
        self.display = WorkDisplay(None, _say_nothing)

    @property
    def width(self) -> int | None:
        """The width of the terminal; None where the output is not a terminal, and lines are not wrapped."""
        return self.rich.width if self.rich.is_terminal else None

    @contextmanager
    def showing_work(self, progress: str | bool) -> Iterator[None]:
        """Show the progress of long work in the block: in a live line, or else in a printed line every few seconds.

        `progress` is `trainer.progress`: `auto` draws on standard output if that is a terminal that can redraw a line;
        `true` also on standard error if that is one; `false` shows nothing.
        """
        say = self.say if progress is not False and not self.rich.quiet else _say_nothing
        with self.below_all(progress) as live:
            self.display = WorkDisplay(live, say)
            with shown_by(self.display):
                yield

    @contextmanager
    def below_all(self, progress: str | bool) -> Iterator[LiveLine | None]:
        """Give the block a live line below all other output; None where nothing can draw it (see `showing_work`)."""
        stream = self._screen(progress)
        if stream is None:
            yield None
            return
        live = LiveLine(stream, lambda: self.rich.width if self.rich.is_terminal else _width_of(stream))
        with live.below_all():
            yield live

    def _screen(self, progress: str | bool) -> TextIO | None:
        """Return the stream for the live line, or None."""
        if progress is False or self.rich.quiet or self.rich.is_dumb_terminal:
            return None
        if self.rich.is_terminal:
            return sys.stdout
        return sys.stderr if progress is True and sys.stderr.isatty() else None

    def log_to(self, path: Path) -> None:
        """Append a copy of all further output to `path`."""
        self._log = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def say(self, text: str, style: str | None = None, *, parts: Sequence[tuple[int, str]] = ()) -> None:
        """Print a line literally: no markup, and control characters are made visible.

        A terminal wraps it between words. Of `parts`, given in place of a text, a terminal shows those that fit.
        """
        text = visible(hide_known(text or fitting(parts, None), self.secrets))
        shown, width = text, self.width
        if width is not None:
            shown = visible(hide_known(fitting(parts, width), self.secrets)) if parts else wrapped(text, width)
        try:
            self.rich.print(shown, style=style, markup=False, emoji=False, soft_wrap=True)
            sys.stdout.flush()
        except OSError as error:
            raise _nobody_reads() from error
        finally:
            if self._log is not None:
                self._log.write(text + "\n")
                self._log.flush()

    def note(self, text: str) -> None:
        """Print a highlighted note."""
        self.say(f"note: {text}", style="yellow")

    def record(self, text: str) -> None:
        """Write a line only to the run's log."""
        if self._log is not None:
            self._log.write(visible(hide_known(text, self.secrets)) + "\n")
            self._log.flush()

    def table(self, table: Sheet, *, path: tuple[str, str] | None = None) -> None:
        """Print a table without the columns that do not fit the terminal, and name those.

        `path`, a title and a path, is its last row, or a line below it where the row would break the path, which could
        then not be copied.
        """
        is_below = path is not None and self.width is not None and not table.has_room_for(*path, width=self.width)
        if path is not None and not is_below:
            table.add_row(*path)
        fitted, dropped = table.fitted(self.rich.width)
        try:
            if self.rich.is_terminal:
                self.rich.print(fitted)
            else:
                self.rich.print(unfilled(self.rich, fitted), end="", markup=False, emoji=False, soft_wrap=True)
            if dropped:
                text = f"no room for: {', '.join(dropped)}"
                self.rich.print(wrapped(text, self.rich.width), style="dim")
        except OSError as error:
            raise _nobody_reads() from error
        if self._log is not None:
            plain = RichConsole(file=self._log, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
            self._log.write(unfilled(plain, table))
            self._log.flush()
        if path is not None and is_below:
            self.say(" ".join(path))
