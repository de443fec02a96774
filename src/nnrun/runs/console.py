"""The console of a run: lines and tables on the terminal, live progress, and the same lines in run.log."""

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
# Spaces between two columns of a table.
_COLUMN_GAP = 2


def _nobody_reads() -> ResourceError:
    """Return the error for a closed standard output; discard the rest of its buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ResourceError("standard output was closed during the run; its checkpoints are intact: continue with resume=")


class _RichConsole(RichConsole):
    """Rich's console, with an error of ours for a closed standard output: rich would end the process with code 1."""

    def on_broken_pipe(self) -> None:
        raise _nobody_reads()


class Sheet(Table):
    """A table whose texts are shown literally: no markup, no control characters.

    On a narrow terminal, the least important columns are dropped whole: no number is cut.
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
        """Add a column. A higher `importance` is dropped sooner, 0 never. It may shrink to `least_width`."""
        title = _plain(header) or Text()
        self._columns.append((title, more, importance, least_width))
        super().add_column(title, *rest, **more)

    def fitted(self, width: int) -> tuple[Sheet, list[str]]:
        """Return the table with the columns that fit a width, and the titles of the dropped ones."""
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
        """Return the full width of a column, with the gap after it."""
        cells = [self._columns[index][0], *(cells[index] for cells, _ in self._rows if index < len(cells))]
        return max(cell.cell_len if cell else 0 for cell in cells) + _COLUMN_GAP

    def _needs(self, kept: Sequence[int]) -> int:
        """Return the minimum width of some columns."""
        return sum(min(self._natural(index), (self._columns[index][3] or 10_000) + _COLUMN_GAP) for index in kept)


def _say_nothing(_: str) -> None:
    """Show no progress."""


def _width_of(stream: TextIO) -> int:
    """Return the width of the terminal behind a stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _plain(cell: RenderableType | None) -> Text | None:
    """Return a cell as literal text."""
    if isinstance(cell, Text):
        return cell if visible(cell.plain) == cell.plain else Text(visible(cell.plain), style=cell.style)
    return None if cell is None else Text(visible(str(cell)))


def _unfilled(console: RichConsole, sheet: Sheet) -> str:
    """Return a table as a console prints it, without the spaces at the ends of its lines."""
    with console.capture() as printed:
        console.print(sheet)
    return "".join(f"{line.rstrip()}\n" for line in printed.get().splitlines())


class Console:
    """Print lines and tables to standard output; after `log_to`, also to the run's log, without colours."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        # In a notebook, rich would turn each line into an HTML table.
        self.rich = _RichConsole(highlight=False, width=width, quiet=invocation().is_quiet, force_jupyter=False)
        self._log: IO[str] | None = None
        # Texts that are hidden in all output.
        self.secrets: Collection[str] = ()
        self.display = WorkDisplay(None, _say_nothing)

    @property
    def width(self) -> int | None:
        """The width of the terminal; None where the output is no terminal, and lines are not wrapped."""
        return self.rich.width if self.rich.is_terminal else None

    @contextmanager
    def showing_work(self, progress: str | bool) -> Iterator[None]:
        """Show the progress of long work in the block: in a live line, or else in a printed line every few seconds.

        `progress` is `trainer.progress`: `auto` draws on standard output if that is a terminal that can redraw a line;
        `true` also on standard error if that is one; `false` shows nothing.
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

    def table(self, table: Sheet) -> None:
        """Print a table without the columns that do not fit the terminal, and name those."""
        fitted, dropped = table.fitted(self.rich.width)
        try:
            if self.rich.is_terminal:
                self.rich.print(fitted)
            else:
                self.rich.print(_unfilled(self.rich, fitted), end="", markup=False, emoji=False, soft_wrap=True)
            if dropped:
                text = f"no room for: {', '.join(dropped)}"
                self.rich.print(wrapped(text, self.rich.width), style="dim")
        except OSError as error:
            raise _nobody_reads() from error
        if self._log is not None:
            plain = RichConsole(file=self._log, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
            self._log.write(_unfilled(plain, table))
            self._log.flush()
