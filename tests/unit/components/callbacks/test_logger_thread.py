"""A logger in its thread: one that hangs, one that is slow and one that cannot keep up delay nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from nnrun.components.callbacks import logger_thread, loggers
from nnrun.components.callbacks.logger_thread import LoggerThread
from nnrun.components.callbacks.loggers import Loggers
from nnrun.core.seams.training import Histogram, RunInfo
from nnrun.runs.console import Console
from support.command_line import environment

RUN = RunInfo("train", None, {}, step=0)  # type: ignore[arg-type]
SOME = {"weights/a": Histogram(0.0, 1.0, (1.0,), 0.5, 0.25)}


class Recorder:
    """A logger that waits in one of its methods until it is let go."""

    def __init__(self, waits_in: str = "", limit: float = 30.0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waits_in, self.let_go, self.finish_seconds = waits_in, threading.Event(), limit

    def tell(self, name: str, *given: Any) -> None:
        self.calls.append((name, *given))
        if name == self.waits_in:
            self.let_go.wait(20)

    def start(self, run: RunInfo) -> None:
        self.tell("start")

    def log(self, step: int, values: dict[str, float]) -> None:
        self.tell("log", step)

    def histograms(self, step: int, values: dict[str, Histogram]) -> None:
        self.tell("histograms", step)

    def finish(self, summary: dict[str, Any]) -> None:
        self.tell("finish")


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_one_that_hangs_is_named_once_and_left_behind(
    method: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one, which does not hang, is told everything: the negative control."""
    left: list[bool] = []
    monkeypatch.setattr(loggers, "leave_threads_behind", lambda: left.append(True))
    starting = 1.0 if method == "start" else 60.0  # the other one starts within it too
    for module in (logger_thread, loggers):
        monkeypatch.setattr(module, "CALL_SECONDS", 0.1)
        monkeypatch.setattr(module, "START_SECONDS", starting)
    all_of_them, stuck, well = Loggers(Console()), Recorder(method, limit=0.1), Recorder()
    all_of_them.start({"stuck": stuck, "well": well}, RUN)
    for step in (1, 2):
        all_of_them.log(step, {"train/loss": 1.0})
        while well.calls[-1] != ("log", step):
            time.sleep(0.01)
        time.sleep(0.15)
    all_of_them.log(3, {"train/loss": 1.0})
    all_of_them.finish({})
    assert well.calls == [("start",), ("log", 1), ("log", 2), ("log", 3), ("finish",)]
    assert stuck.calls[-1][0] == method
    fault = {
        "start": "start has not returned for 1 s",
        "log": "log has not returned for 0 s",
        "finish": "it has not finished in 0 s",
    }[method]
    assert all_of_them.failed == {"stuck": fault}
    assert capsys.readouterr().out.count("note: logger.stuck fails with") == 1
    assert left == [True]
    stuck.let_go.set()
    time.sleep(0.05)
    assert [call[0] for call in stuck.calls].count(method) == 1, "nothing that waits is sent later"


def test_a_slow_one_gets_all_rows_and_those_histograms_for_which_there_is_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = Recorder("histograms")
    all_of_them = Loggers(Console())
    all_of_them.start({"slow": slow}, RUN)
    for step in range(5):
        all_of_them.log(step, {"train/loss": 1.0})
        all_of_them.histograms(step, SOME)
    slow.let_go.set()
    all_of_them.finish({})
    assert [call[1] for call in slow.calls if call[0] == "log"] == list(range(5))
    assert [call[1] for call in slow.calls if call[0] == "histograms"] == [0, 1]
    assert "note: logger.slow was too slow for 3 sets of histograms" in capsys.readouterr().out
    assert all_of_them.failed == {}


def test_one_that_cannot_keep_up_is_left_behind_before_it_takes_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger_thread, "MOST_WAITING", 20)
    monkeypatch.setattr(loggers, "leave_threads_behind", lambda: None)
    all_of_them, stuck = Loggers(Console()), Recorder("log")
    all_of_them.start({"stuck": stuck}, RUN)
    for step in range(100):
        all_of_them.log(step, {})
    assert all_of_them.failed == {"stuck": "it cannot keep up: 20 calls are waiting"}
    stuck.let_go.set()
    all_of_them.finish({})
    assert stuck.calls in ([("start",)], [("start",), ("log", 0)])


def test_rows_that_come_close_to_each_other_are_passed_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger_thread, "_GATHER_SECONDS", 0.2)

    class Taker(Recorder):
        def log_rows(self, rows: list[tuple[int, dict[str, float]]]) -> None:
            self.tell("rows", [step for step, _ in rows])

    thread = LoggerThread(taker := Taker())
    for step in range(3):
        thread.call("log", step, {})
    thread.call("histograms", 3, SOME)
    thread.call("log", 4, {})
    thread.call("finish", {})
    assert thread.wait(5)
    assert taker.calls == [("rows", [0, 1, 2]), ("histograms", 3), ("rows", [4]), ("finish",)]


LEAVING = """
import atexit, sys, time
from nnrun.base import ending, guard
guard.LEAVING_SECONDS = 0.1
atexit.register(time.sleep, 60)  # a library that waits for its thread
if sys.argv[1:] == ["hangs"]:
    ending.leave_threads_behind()
guard.leave_with(7)
"""


def test_one_that_was_left_behind_does_not_keep_the_process_from_ending() -> None:
    """Where none was, the exit functions are waited for: the negative control."""
    command = [sys.executable, "-c", LEAVING]
    assert subprocess.run([*command, "hangs"], env=environment(), timeout=30, check=False).returncode == 7
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command, env=environment(), timeout=1.5, check=False)
