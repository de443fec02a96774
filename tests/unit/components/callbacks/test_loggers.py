"""Loggers that fail: each is named once, is not called again, and nothing but Ctrl-C gets past them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.base.errors import DivergedError, InterruptedRun
from nnrun.components.callbacks.logger_thread import LoggerThread
from nnrun.components.callbacks.loggers import Loggers
from nnrun.core.seams.training import RunInfo
from nnrun.runs.console import Console

RUN = RunInfo("train", Path("run"), {"seed": 0}, step=7)


class Recorder:
    """A logger that keeps what it is told, and fails at one of its methods."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._fails_at, self._error = fails_at, error or KeyError("no such key")

    def _called(self, name: str, *given: Any) -> None:
        self.calls.append((name, *given))
        if name == self._fails_at:
            raise self._error

    def start(self, run: RunInfo) -> None:
        self._called("start", run)

    def log(self, step: int, values: dict[str, float]) -> None:
        self._called("log", step, values)

    def image(self, step: int, name: str, image: torch.Tensor) -> None:
        self._called("image", step, name, tuple(image.shape))

    def finish(self, summary: dict[str, Any]) -> None:
        self._called("finish", summary)


def told(loggers: Loggers, **recorders: Recorder) -> None:
    """Tell loggers of a whole run: its start, two steps with an image between them, and its end."""
    loggers.start(recorders, RUN)
    loggers.log(8, {"train/loss": 1.0})
    loggers.image(8, "batch", torch.zeros(1, 2, 2, dtype=torch.uint8))
    loggers.log(9, {"train/loss": 0.5})
    loggers.finish({"state": "finished"})


def test_each_is_told_all_in_order() -> None:
    loggers, one, two = Loggers(Console()), Recorder(), Recorder()
    told(loggers, one=one, two=two)
    assert one.calls == two.calls == [
        ("start", RUN),
        ("log", 8, {"train/loss": 1.0}),
        ("image", 8, "batch", (1, 2, 2)),
        ("log", 9, {"train/loss": 0.5}),
        ("finish", {"state": "finished"}),
    ]  # fmt: skip
    assert loggers.failed == {}


@pytest.mark.parametrize("method", ["start", "log", "image", "finish"])
@pytest.mark.parametrize("error", [KeyError("no such key"), SystemExit(3), MemoryError(), DivergedError("so it says")])
def test_one_that_fails_is_named_once_and_not_called_again(
    method: str, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one, which fails at nothing, is the negative control."""
    loggers, bad, good = Loggers(Console()), Recorder(method, error), Recorder()
    told(loggers, bad=bad, good=good)
    assert [name for name, *_ in bad.calls].count(method) == 1
    assert bad.calls[-1][0] == method
    assert len(good.calls) == 5
    assert list(loggers.failed) == ["bad"]
    said = capsys.readouterr().out
    assert said.count("logger.bad fails with") == 1
    assert f"{type(error).__name__}" in said
    assert "test_loggers.py, line" in loggers.failed["bad"]


@pytest.mark.parametrize("method", ["start", "log", "finish"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedRun(15)])
def test_an_interrupt_passes(method: str, error: BaseException) -> None:
    loggers, torn, other = Loggers(Console()), Recorder(method, error), Recorder()
    with pytest.raises(type(error)):
        told(loggers, torn=torn, other=other)
    assert loggers.failed == {}
    # The run ends, and says so: to the other one where it has started, and to none twice.
    loggers.finish({"state": "interrupted"})
    ends = [call[1]["state"] for call in other.calls if call[0] == "finish"]
    # Its thread may be told of the end before the interrupt is seen.
    assert (
        ends
        in {"start": [[]], "log": [["interrupted"], ["finished"]], "finish": [["finished"], ["interrupted"]]}[method]
    )
    assert sum(call[0] == "finish" for call in torn.calls) == (0 if method == "start" else 1)


@pytest.mark.parametrize("is_started", [True, False])
def test_an_interrupt_at_the_end_of_a_start_leaves_nobody_untold(
    monkeypatch: pytest.MonkeyPatch, is_started: bool
) -> None:
    """The signal arrives when `start` has returned; one that is still in its start is not waited for."""
    go_on, wait = threading.Event(), LoggerThread.wait

    class Starting(Recorder):
        def start(self, run: RunInfo) -> None:
            self._called("start", run)
            if not is_started:
                go_on.wait(60)

    def stopped(thread: LoggerThread, *given: Any, **named: Any) -> bool:
        if is_started:
            wait(thread, *given, **named)
        raise KeyboardInterrupt

    loggers, recorder, before = Loggers(Console()), Starting(), time.monotonic()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LoggerThread, "wait", stopped)
        loggers.start({"starting": recorder}, RUN)
    loggers.finish({"state": "interrupted"})
    assert time.monotonic() - before < 30
    go_on.set()
    ends = [call for call in recorder.calls if call[0] == "finish"]
    assert ends == ([("finish", {"state": "interrupted"})] if is_started else [])
    assert loggers.failed == {}


def test_images_reach_those_that_take_them() -> None:
    class Plain:
        start: Callable[..., None] = Recorder.start
        log, finish, _called = Recorder.log, Recorder.finish, Recorder._called
        _fails_at = ""

        def __init__(self) -> None:
            self.calls: list[Any] = []

    loggers, plain = Loggers(Console()), Plain()
    told(loggers, plain=plain)  # type: ignore[arg-type]
    assert [name for name, *_ in plain.calls] == ["start", "log", "log", "finish"]
    assert loggers.failed == {}


def test_values_that_one_changes_are_not_those_of_the_next() -> None:
    class Greedy(Recorder):
        def log(self, step: int, values: dict[str, float]) -> None:
            values.clear()

    loggers, other = Loggers(Console()), Recorder()
    told(loggers, greedy=Greedy(), other=other)
    assert ("log", 8, {"train/loss": 1.0}) in other.calls


def test_secrets_are_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.secrets = {"s3cr3t-token"}
    loggers = Loggers(console)
    told(loggers, bad=Recorder("log", ValueError("refused: s3cr3t-token")))
    assert "s3cr3t" not in loggers.failed["bad"] + capsys.readouterr().out
    assert "ValueError: refused: ***" in loggers.failed["bad"]
