"""What fits into a terminal: columns are left out whole, lines break between words, the log has all."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from rich import box

from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 28 columns without colors."""
    terminal = Terminal()
    for name, value in (("COLUMNS", "28"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    return terminal


def sheet() -> Sheet:
    table = Sheet(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", least_width=8, no_wrap=True, overflow="ellipsis")
    table.add_column("loss", importance=2)
    table.add_column("accuracy", importance=1)
    table.add_row("a name that is long", "0.123456", "0.987654")
    return table


def test_a_table_leaves_out_whole_columns_and_names_them(narrow: Terminal, tmp_path: Path) -> None:
    """Negative control: the log, which is wide, has them."""
    with contextlib.redirect_stdout(narrow):
        console = Console()
        console.log_to(tmp_path / "run.log")
        console.table(sheet())
    shown = re.sub(r"\x1b\[[0-9;]*m", "", narrow.getvalue())
    assert "0.987654" in shown
    assert "0.123456" not in shown
    assert "no room for: loss" in shown
    assert "loss" in shown
    assert max(map(len, shown.splitlines())) <= 28
    assert "0.123456" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize(
    ("width", "left_out"), [(100, []), (38, []), (37, []), (31, []), (29, ["loss"]), (15, ["loss", "accuracy"])]
)
def test_what_matters_least_is_left_out_first(width: int, left_out: list[str]) -> None:
    assert sheet().fitted(width)[1] == left_out


def boxed() -> Sheet:
    table = Sheet(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, importance in (("job", 0), ("optimizer.lr", 0), ("valid/accuracy", 0), ("seconds", 1)):
        table.add_column(title, overflow="fold", importance=importance)
    table.add_row("0", "0.001", "0.9876", "1.5")
    return table


@pytest.mark.parametrize("width", range(38, 60))
def test_in_a_box_too_no_title_is_broken(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the gaps of a table without a box, a title breaks at some of the widths."""
    terminal = Terminal()
    for name, value in (("COLUMNS", str(width)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stdout(terminal):
        Console().table(boxed())
    shown = terminal.getvalue()
    assert "valid/accuracy" in shown
    assert ("seconds" in shown.splitlines()[1]) == ("no room for" not in shown)


def test_a_line_of_parts_shows_those_that_fit_and_logs_all(narrow: Terminal, tmp_path: Path) -> None:
    with contextlib.redirect_stdout(narrow):
        console = Console()
        console.log_to(tmp_path / "run.log")
        console.say("", parts=[(0, "epoch 1"), (2, "train/loss 1.2345"), (1, "valid/loss 0.1234")])
    assert narrow.getvalue() == "epoch 1  valid/loss 0.1234\n"
    assert (tmp_path / "run.log").read_text() == "epoch 1  train/loss 1.2345  valid/loss 0.1234\n"


def test_a_line_breaks_between_words_and_is_whole_in_the_log(narrow: Terminal, tmp_path: Path) -> None:
    with contextlib.redirect_stdout(narrow):
        console = Console()
        console.log_to(tmp_path / "run.log")
        console.say("the loss was 123456789 in the step 987654321")
    assert narrow.getvalue() == "the loss was 123456789 in\nthe step 987654321\n"
    assert (tmp_path / "run.log").read_text() == "the loss was 123456789 in the step 987654321\n"


def test_no_spaces_fill_up_the_lines_of_a_table_but_on_a_terminal(tmp_path: Path) -> None:
    table = Sheet(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_row("test", "accuracy 0.99")
    table.add_row("a longer title", "1")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        console = Console()
        console.log_to(tmp_path / "run.log")
        console.table(table)
    expected = "test            accuracy 0.99\na longer title  1\n"
    assert (printed.getvalue(), (tmp_path / "run.log").read_text()) == (expected, expected)


def results() -> Sheet:
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("test", "accuracy 0.9  loss 0.4  f1 0.8")
    table.add_row("confused", "a -> b (1 of 2)  a name that is long -> c (1)")
    return table


def test_a_cell_breaks_between_its_items(narrow: Terminal, tmp_path: Path) -> None:
    """No metric is parted from its value. Negative control: a break between any two words leaves `loss` at an end."""
    with contextlib.redirect_stdout(narrow):
        console = Console()
        console.log_to(tmp_path / "run.log")
        console.table(results())
    assert [line.rstrip() for line in narrow.getvalue().splitlines()] == [
        "test      accuracy 0.9",
        "          loss 0.4  f1 0.8",
        "confused  a -> b (1 of 2)",
        "          a name that is",
        "          long -> c (1)",
    ]
    assert "accuracy 0.9  loss 0.4  f1 0.8" in (tmp_path / "run.log").read_text()


def test_a_terminal_that_cannot_redraw_has_its_own_width(narrow: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: rich assumes 80 columns for TERM=dumb, and fills lines up to them."""
    monkeypatch.setenv("TERM", "dumb")
    with contextlib.redirect_stdout(narrow):
        console = Console()
        console.say("a line that is longer than 28 columns")
        console.table(results())
    assert max(map(len, narrow.getvalue().splitlines())) <= 28
