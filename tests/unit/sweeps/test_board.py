"""The live table of a sweep: what it says of each job, at each width, and that nothing of it stays."""

from __future__ import annotations

import io
import re
import time

import pytest

from nnrun.config.composed import Composed
from nnrun.runs.console import Console
from nnrun.runs.live import LiveLine
from nnrun.sweeps.board import SideBySide
from nnrun.sweeps.seams import JobState, Progress
from nnrun.sweeps.table import JobResult


class Epochs:
    """A config of 10 epochs, as far as the table reads it."""

    def resolved(self) -> dict[str, object]:
        return {"trainer": {"epochs": 10, "max_steps": None, "max_minutes": None}}


def row(number: int, state: JobState = JobState.RUNNING, monitored: float | None = None) -> JobResult:
    return JobResult(
        number,
        {"optimizer.lr": "0.003", "data.batch_size": "64"},
        "",
        0 if state == JobState.FINISHED else None,
        state,
        monitor="valid/loss",
        mode="min",
        monitored=monitored,
        seconds=20.0,
    )


def screen(sent: str) -> list[str]:
    """The rows that the last drawing put on the terminal."""
    drawn = sent.rpartition("\x1b[J")[0].rpartition("\x1b[J")[2]
    return [re.sub(r"\x1b\[\d*[A-Z]|\r", "", line) for line in drawn.split("\n")]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def drawn(width: int, clock: list[float]) -> list[str]:
    """The table with one job that is done, one that failed, one at epoch 4 of 10 for 8 s, one that starts."""
    stream = io.StringIO()
    rows = [row(0, JobState.FINISHED, 0.25), row(1, JobState.FAILED), row(2), row(3)]
    board = SideBySide(Console(), lambda: 8, rows, lambda: 2)
    board.live = LiveLine(stream, lambda: width)
    composed: Composed = Epochs()  # type: ignore[assignment]
    board.started(rows[2], composed)
    clock[0] += 8.0
    board.progressed(rows[2], Progress(2, 4.0, 400, {"valid/accuracy": 0.9, "valid/loss": 0.31}))
    board.started(rows[3], composed)
    return screen(stream.getvalue())


@pytest.fixture(autouse=True)
def _tall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveLine, "height", 20)


def test_a_row_says_where_a_job_is_and_how_long_it_takes(clock: list[float]) -> None:
    first, job, starting = drawn(140, clock)
    assert first == "2 of 8 jobs done  1 failed  best: job 0, valid/loss 0.2500  about 1:00 left"
    assert re.split(r"\s{2,}", job) == [
        "job 2",
        "optimizer.lr=0.003 data.batch_size=64",
        "epoch 4 of 10",
        "valid/loss 0.3100",
        "0:08",
        "up to 0:12 left",
    ]
    assert re.split(r"\s{2,}", starting.rstrip()) == [
        "job 3",
        "optimizer.lr=0.003 data.batch_size=64",
        "starting",
        "0:00",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_loses_times_first_and_never_a_part_of_a_number(width: int, clock: list[float]) -> None:
    lines = drawn(width, clock)
    assert max(map(len, lines)) < width
    assert lines[0].startswith("2 of 8 jobs done  1 failed")
    assert "valid/loss 0.3100" in lines[1], lines
    assert "left" not in lines[1]


def test_lines_are_drawn_over_each_other_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each drawing the cursor is at the start of the first line, so that what comes next covers all of them."""
    stream = io.StringIO()
    line = LiveLine(stream, lambda: 20)
    line.draw("one", "two", "three, longer than the terminal")
    assert stream.getvalue() == "\rone\x1b[K\ntwo\x1b[K\nthree, longer than t\x1b[J\x1b[2A\r".replace("than t", "than")
    monkeypatch.setattr(LiveLine, "height", 2)
    stream.seek(0), stream.truncate()
    line.draw("one", "two", "three")
    assert "three" not in stream.getvalue(), "more lines than the terminal has could not be drawn over"
    line.clear()
    assert stream.getvalue().endswith("\r\x1b[J")


def test_without_a_terminal_each_end_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure has been said already: it is no second line."""
    rows = [row(0, JobState.FINISHED, 0.25), row(1, JobState.FAILED)]
    board = SideBySide(Console(), lambda: 2, rows, lambda: 2)
    with board.shown("auto"):
        for each in rows:
            board.started(each, None)
            board.ended(each)
        board.tick()
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "job 0 (optimizer.lr=0.003 data.batch_size=64): valid/loss 0.2500, 20.0 s  [2 of 2 done]"
    ]
