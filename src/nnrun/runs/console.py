"""What a run says: to the terminal, with a progress bar where there is one, and the same lines to run.log."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from nnrun.base.errors import ResourceError
from nnrun.base.invocation import invocation
from nnrun.base.secrets import hide_known
from nnrun.base.visible import visible

PLAIN_WIDTH = 120


def _nobody_reads() -> ResourceError:
    """Return the error for a closed standard output, and let what is left in its buffer go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ResourceError("standard output was closed while the run was going; what is saved is whole: see resume=")


class _RichConsole(RichConsole):
    """Rich's console; a closed standard output is an error of ours, where rich would end the process with code 1."""

    def on_broken_pipe(self) -> None:
        raise _nobody_reads()


class Sheet(Table):
    """A table whose texts mean nothing but themselves, wherever they come from: no brackets, no control characters."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        """Add a row of texts."""
        super().add_row(*map(_plain, cells), style=style, end_section=end_section)

    def add_column(self, header: RenderableType = "", *rest: Any, **more: Any) -> None:
        """Add a column."""
        super().add_column(_plain(header) or "", *rest, **more)


def _plain(cell: RenderableType | None) -> Text | None:
    """Return what stands in a cell as a text that is shown and not obeyed."""
    if isinstance(cell, Text):
        return cell if visible(cell.plain) == cell.plain else Text(visible(cell.plain), style=cell.style)
    return None if cell is None else Text(visible(str(cell)))


class Console:
    """Print lines and tables to standard output; from `log_to` on, to the run's log as well, without colours."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        # In a notebook rich would make a table of HTML of each line.
        self.rich = _RichConsole(highlight=False, width=width, quiet=invocation().is_quiet, force_jupyter=False)
        self._log: IO[str] | None = None
        # What is not to be said, whoever says it.
        self.secrets: Collection[str] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches: a terminal can redraw a line."""
        return self.rich.is_terminal and not self.rich.is_dumb_terminal

    def wants_bar(self, progress: str | bool) -> bool:
        """Return whether `trainer.progress` asks for a bar: `auto` where a person watches."""
        return self.is_terminal if progress == "auto" else bool(progress)

    def log_to(self, path: Path) -> None:
        """Copy to `path` what is said from now on."""
        self._log = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """End the copy."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line, as it is: brackets in it mean nothing, and what a terminal would obey is shown."""
        text = visible(hide_known(text, self.secrets))
        try:
            self.rich.print(text, style=style, markup=False, emoji=False, soft_wrap=True)
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
        """Print a table."""
        try:
            self.rich.print(table)
        except OSError as error:
            raise _nobody_reads() from error
        if self._log is not None:
            RichConsole(file=self._log, width=PLAIN_WIDTH, color_system=None, force_terminal=False).print(table)
            self._log.flush()
