"""The table at the end of a run."""

from __future__ import annotations

import contextlib
import io

import pytest

from nnrun.runs.console import Console
from nnrun.runs.summary import Summary, show

RUN = "outputs/2026-11-26/12-00-00_cnn_digits-0.001"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "line"), [(60, f"directory  {RUN}"), (50, RUN)])
def test_the_path_of_the_run_is_never_broken(columns: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: in the table, a narrow terminal breaks it."""
    terminal = Terminal()
    for name, value in (("COLUMNS", str(columns)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    reached = Summary(
        task="evaluate", state="finished", run=RUN, metrics={}, monitor="valid/loss", mode="min", wall_seconds=1.0
    )
    with contextlib.redirect_stdout(terminal):
        show(reached, [], Console(), "", trained=False)
    assert line in [row.rstrip() for row in terminal.getvalue().splitlines()]
