"""The live line leaves nothing behind, also on a terminal that was narrowed; without one, long work says a line."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from nnrun.base.guard import BEFORE_LAST_WORDS
from nnrun.base.meter import Meter
from nnrun.runs import live as module
from nnrun.runs.live import LiveLine, WorkDisplay


class Screen(io.StringIO):
    """A terminal that, narrowed, breaks its lines as most do, and whose cursor stays at its character."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.row, self.column = [""], 0, 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in text.replace("\x1b[J", "\x00"):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif part == "\x00":
                self.rows[self.row :] = [self.rows[self.row][: self.column]]
            else:
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + part + line[self.column + 1 :]
                self.column += 1
        return len(text)

    def narrow(self, columns: int) -> None:
        """Break the row of the cursor, which waits at its beginning."""
        assert self.column == 0
        line = self.rows[self.row]
        self.rows[self.row :] = [line[at : at + columns] for at in range(0, len(line), columns)]


def test_a_line_is_gone_from_a_terminal_that_was_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a cursor that waited behind the line would leave its first rows."""
    screen, width = Screen(), [40]
    monkeypatch.setattr(sys, "stdout", screen)
    line = LiveLine(screen, lambda: width[0])
    print("before")  # noqa: T201
    with line.below_all():
        line.draw("x" * 60)
        assert screen.rows == ["before", "x" * 39]
        screen.narrow(15)
        width[0] = 15
        assert screen.rows == ["before", "x" * 15, "x" * 15, "x" * 9]
        line.draw("y" * 60)
        assert screen.rows == ["before", "y" * 14]
        print("said")  # noqa: T201
        assert screen.rows == ["before", "said", ""]
        line.draw("z")
        assert len(BEFORE_LAST_WORDS) == 1
    assert screen.rows == ["before", "said", ""]
    assert sys.stdout is screen
    assert BEFORE_LAST_WORDS == []


def test_wide_characters_and_control_characters_do_not_break_the_line() -> None:
    screen = Screen()
    LiveLine(screen, lambda: 11).draw("猫" * 20)
    assert screen.rows == ["猫" * 5]
    screen = Screen()
    LiveLine(screen, lambda: 40).draw("a\n\x1b[31mb")
    assert screen.rows == ["a\\n\\x1b[31mb"]


def test_long_work_says_a_line_every_few_seconds_and_short_work_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    display = WorkDisplay(None, said.append)
    for seconds in (4.0, 30.0, 600.0):
        work, start = Meter("decoding", 1000, "samples", started=now[0]), now[0]
        display.begin(work)
        while now[0] - start < seconds:
            now[0] += 0.5
            display.moved()
        display.end(work)
        display.moved()
        said.append(f"{seconds}")
    places = [said.index(name) for name in ("4.0", "30.0", "600.0")]
    assert places[0] == 0, "short work says nothing"
    assert places[1] - places[0] - 1 == 6
    assert 20 < places[2] - places[1] - 1 < 40, "later, a line at each tenth of the time"
    assert said[1].startswith("decoding")


def test_a_live_line_shows_the_innermost_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now, screen = [0.0], Screen()
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    display = WorkDisplay(LiveLine(screen, lambda: 80), print)
    outer, inner = (Meter(what, 9, "steps", done=3, started=0.0) for what in ("training", "evaluating"))
    display.begin(outer)
    display.begin(inner)
    now[0] = 1.0
    display.moved()
    assert screen.rows[0].startswith("evaluating  3/9 steps")
    display.end(inner)
    assert screen.rows == [""]
    now[0] = 2.0
    display.moved()
    assert screen.rows[0].startswith("training")


def test_work_that_is_over_is_not_drawn_by_the_thread_that_was_drawing_it() -> None:
    """Negative control: without a lock the work ends while its line is made, and that line stays on the terminal."""
    screen, ended_early = Screen(), []
    display = WorkDisplay(LiveLine(screen, lambda: 40), lambda _: None)

    def describe() -> list[tuple[int, str]]:
        ending.start()
        ending.join(0.2)
        ended_early.append(not ending.is_alive())
        return [(0, "exporting")]

    work = Meter("exporting", None, "", describe=describe)
    ending = threading.Thread(target=display.end, args=(work,))
    display.begin(work)
    display.moved()
    ending.join()
    assert (ended_early, screen.rows) == ([False], [""])
