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
        show(reached, [], Console(), [], trained=False)
    assert line in [row.rstrip() for row in terminal.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [80, 60])
def test_what_took_longest_and_the_commands_fit_a_narrow_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: an evaluation names no slowest part."""
    reached = Summary(
        task="train", state="finished", run=RUN, metrics={}, monitor="valid/loss", mode="min", wall_seconds=4.0,
        time={"opening": 0.5, "exports": 3.0},
    )  # fmt: skip
    commands = [f"nnrun export=onnx ckpt={RUN}", "nnrun task=compare runs=outputs"]
    for name, value in (("COLUMNS", str(columns)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    for trained in (True, False):
        terminal = Terminal()
        with contextlib.redirect_stdout(terminal):
            show(reached, [], Console(), commands if trained else [], trained=trained)
        text = terminal.getvalue()
        rows = [row.rstrip() for row in text.splitlines()]
        assert max(map(len, rows)) <= columns
        assert ("exports and their verification, 3.0 s, 75% of the run" in " ".join(text.split())) == trained
        assert ("or: nnrun task=compare runs=outputs" in rows) == trained
        assert (f"next: {commands[0]}" in " ".join(text.replace("\\\n", "").split())) == trained
