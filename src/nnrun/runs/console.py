"""What a run says: to the terminal, with a progress bar where there is one, and the same lines to run.log."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from nnrun.base.errors import ResourceError
from nnrun.base.invocation import invocation
from nnrun.base.meter import shown_by
from nnrun.base.secrets import hide_known
from nnrun.base.shown import fitting
from nnrun.base.visible import visible, wrapped
from nnrun.runs.live import LiveLine, WorkDisplay

PLAIN_WIDTH = 120
# Between two columns of a table.
_COLUMN_GAP = 2


def _nobody_reads() -> ResourceError:
    """Return the error for a closed standard output, and let what is left in its buffer go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ResourceError("standard output was closed while the run was going; what is saved is whole: see resume=")


class _RichConsole(RichConsole):
    """Rich's console; a closed standard output is an error of ours, where rich would end the process with code 1."""

    def on_broken_pipe(self) -> None:
        raise _nobody_reads()


class Sheet(Table):
    """A table whose texts mean nothing but themselves, wherever they come from: no brackets, no control characters.

    Where a terminal has no room for all of its columns, those that matter least are left out, whole: no number is cut.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._settings = settings
        self._columns: list[tuple[Text, dict[str, Any], int, int | None]] = []
        self._rows: list[tuple[list[Text | None], StyleType | None]] = []

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row of texts."""
        texts = list(map(_plain, cells))
        self._rows.append((texts, style))
        super().add_row(*texts, style=style, end_section=end_section)

    def add_column(
        self,
        header: RenderableType = "",
        *rest: Any,
        importance: int = 0,
        least_width: int | None = None,
        **more: Any,
    ) -> None:
        """Add a column: of 0 it is always there, of more it is left out the sooner; it may shrink to `least_width`."""
        title = _plain(header) or Text()
        self._columns.append((title, more, importance, least_width))
        super().add_column(title, *rest, **more)

    def fitted(self, width: int) -> tuple[Sheet, list[str]]:
        """Return the table with the columns that a width has room for, and the titles of the others."""
        kept = list(range(len(self._columns)))
        while self._needs(kept) > width and any(self._columns[index][2] for index in kept):
            kept.remove(max(kept, key=lambda index: (self._columns[index][2], index)))
        too_much = sum(map(self._natural, kept)) - width
        shrinking = {index for index in kept if self._columns[index][3] is not None and too_much > 0}
        if len(kept) == len(self._columns) and not shrinking:
            return self, []
        sheet = Sheet(**self._settings)
        for index in kept:
            title, more, _, least_width = self._columns[index]
            if index in shrinking:
                more = more | {"max_width": max(least_width or 1, self._natural(index) - _COLUMN_GAP - too_much)}
            sheet.add_column(title, **more)
        for cells, style in self._rows:
            sheet.add_row(*(cells[index] if index < len(cells) else None for index in kept), style=style)
        return sheet, [title.plain for index, (title, *_) in enumerate(self._columns) if index not in kept]

    def _natural(self, index: int) -> int:
        """Return how many characters a column takes where there is room, with the gap behind it."""
        cells = [self._columns[index][0], *(cells[index] for cells, _ in self._rows if index < len(cells))]
        return max(cell.cell_len if cell else 0 for cell in cells) + _COLUMN_GAP

    def _needs(self, kept: Sequence[int]) -> int:
        """Return how many characters some columns need at least."""
        return sum(min(self._natural(index), (self._columns[index][3] or 10_000) + _COLUMN_GAP) for index in kept)


def _say_nothing(_: str) -> None:
    """Show nothing of the work that is under way."""


def _width_of(stream: TextIO) -> int:
    """Return the width of the terminal that a stream is."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _plain(cell: RenderableType | None) -> Text | None:
    """Return what stands in a cell as a text that is shown and not obeyed."""
    if isinstance(cell, Text):
        return cell if visible(cell.plain) == cell.plain else Text(visible(cell.plain), style=cell.style)
    return None if cell is None else Text(visible(str(cell)))


def _unfilled(console: RichConsole, sheet: Sheet) -> str:
    """Return what a console prints of a table, without the spaces that fill its lines up to the last column."""
    with console.capture() as printed:
        console.print(sheet)
    return "".join(f"{line.rstrip()}\n" for line in printed.get().splitlines())


class Console:
    """Print lines and tables to standard output; from `log_to` on, to the run's log as well, without colours."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        # In a notebook rich would make a table of HTML of each line.
        self.rich = _RichConsole(highlight=False, width=width, quiet=invocation().is_quiet, force_jupyter=False)
        self._log: IO[str] | None = None
        # What is not to be said, whoever says it.
        self.secrets: Collection[str] = ()
        self.display = WorkDisplay(None, _say_nothing)

    @property
    def width(self) -> int | None:
        """How many characters a line has room for; None where that is no terminal, which breaks no lines."""
        return self.rich.width if self.rich.is_terminal else None

    @contextmanager
    def showing_work(self, progress: str | bool) -> Iterator[None]:
        """Show long work in the block: in a live line, or where there is none by a line every few seconds.

        `trainer.progress` decides: `auto` draws on standard output, where that is a terminal that can redraw a line;
        `true` also on standard error, where that is one; `false` shows nothing.
        """
        say = self.say if progress is not False and not self.rich.quiet else _say_nothing
        stream = self._screen(progress)
        if stream is None:
            self.display = WorkDisplay(None, say)
            with shown_by(self.display):
                yield
            return
        live = LiveLine(stream, lambda: self.rich.width if self.rich.is_terminal else _width_of(stream))
        self.display = WorkDisplay(live, say)
        with shown_by(self.display), live.below_all():
            yield

    def _screen(self, progress: str | bool) -> TextIO | None:
        """Return the stream that a live line is drawn on."""
        if progress is False or self.rich.quiet or self.rich.is_dumb_terminal:
            return None
        if self.rich.is_terminal:
            return sys.stdout
        return sys.stderr if progress is True and sys.stderr.isatty() else None

    def log_to(self, path: Path) -> None:
        """Copy to `path` what is said from now on."""
        self._log = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """End the copy."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def say(self, text: str, style: str | None = None, *, parts: Sequence[tuple[int, str]] = ()) -> None:
        """Print a line, as it is: brackets in it mean nothing, and what a terminal would obey is shown.

        A terminal breaks it between two words. Of `parts`, in place of a text, it shows those that it has room for.
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
        """Print a line that should not be overlooked."""
        self.say(f"note: {text}", style="yellow")

    def record(self, text: str) -> None:
        """Write a line to the run's log alone."""
        if self._log is not None:
            self._log.write(visible(hide_known(text, self.secrets)) + "\n")
            self._log.flush()

    def table(self, table: Sheet) -> None:
        """Print a table, without the columns that a terminal has no room for."""
        fitted, left_out = table.fitted(self.rich.width)
        try:
            if self.rich.is_terminal:
                self.rich.print(fitted)
            else:
                self.rich.print(_unfilled(self.rich, fitted), end="", markup=False, emoji=False, soft_wrap=True)
            if left_out:
                self.rich.print(
                    wrapped(f"left out for want of room: {', '.join(left_out)}", self.rich.width), style="dim"
                )
        except OSError as error:
            raise _nobody_reads() from error
        if self._log is not None:
            plain = RichConsole(file=self._log, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
            self._log.write(_unfilled(plain, table))
            self._log.flush()
