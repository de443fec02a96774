"""Signals, line by line: whenever one comes, what was trained is saved, and the run goes on to the same bits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nnrun.assembly.instantiate
import nnrun.core.evaluate
import nnrun.core.step
import nnrun.tasks.train.run
from nnrun.base.errors import InterruptedRun
from nnrun.base.files import DurableFile
from nnrun.base.signals import in_force
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.components.exporters.onnx import OnnxExporter
from support.command_line import run_here
from support.small_runs import WORDS, assert_same_bits, assert_whole, manifest, status

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGUSR1": 143, "SIGUSR2": 143}
# Where a signal may come: what is called there, and at which call of it.
MOMENTS: dict[str, tuple[object, str, int]] = {
    "a step": (nnrun.core.step.Step, "backward", 8),
    # The second checkpoint's: after the run's six files, the first checkpoint and its manifest.
    "a save": (DurableFile, "commit", 9),
    "a save, before its manifest": (CheckpointFolder, "_commit", 2),
    "the first save": (CheckpointFolder, "save", 1),
    "a validation": (nnrun.core.evaluate, "add_batch", 2),
    "an export": (OnnxExporter, "export", 1),
    "a proof": (OnnxExporter, "load", 1),
}


@contextlib.contextmanager
def sending(number: int, place: object, name: str, at_call: int, times: int = 1):
    """Let this process get a signal, a real one, as a function is called for the n-th time."""
    original: Callable[..., Any] = getattr(place, name)
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call:
            for _ in range(times):
                os.kill(os.getpid(), number)
                # From a thread, that of a save: two signals at once would be one.
                while threading.current_thread() is not threading.main_thread() and in_force().heard is None:
                    time.sleep(0.001)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(place, name, called)
        yield


def words(moment: str) -> list[str]:
    exports = moment in ("an export", "a proof")
    return [*WORDS[:-1], f"export={'onnx' if exports else 'none'}", "hydra.run.dir=run"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that no signal came to, by their `export=`."""
    runs = {}
    for moment in ("a step", "an export"):
        folder = tmp_path_factory.mktemp("whole")
        assert run_here(words(moment), folder).code == 0
        runs[words(moment)[-2]] = folder / "run"
    return runs


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        *((name, moment) for moment in MOMENTS for name in ("SIGINT", "SIGTERM")),
        *((name, "a step") for name in ("SIGHUP", "SIGUSR1", "SIGUSR2")),
    ],
)
def test_a_signal_saves_and_the_run_goes_on(whole: dict[str, Path], tmp_path: Path, name: str, moment: str) -> None:
    run = tmp_path / "run"
    with sending(signal.Signals[name], *MOMENTS[moment]):
        done = run_here(words(moment), tmp_path)
    assert done.code == CODES[name], done.err
    assert "Traceback" not in done.err
    assert "resume with: nnrun resume=run" in done.err
    assert (status(run)["state"], status(run)["exit_code"]) == ("interrupted", CODES[name])
    assert_whole(run)
    assert not list(run.rglob("*.rejected")), "an interrupt is no failed proof"
    assert run_here(["resume=run"], tmp_path).code == 0
    assert_same_bits(run, whole[words(moment)[-2]])
    if "onnx" in words(moment)[-2]:
        assert json.loads((run / "summary.json").read_text())["artifacts"]["onnx"]["ok"]


@pytest.mark.parametrize("moment", ["a step", "a save"])
def test_a_second_ctrl_c_ends_the_run_at_once(whole: dict[str, Path], tmp_path: Path, moment: str) -> None:
    """Nothing is saved then; what was saved before is whole."""
    with sending(signal.SIGINT, *MOMENTS[moment], times=2):
        done = run_here(words(moment), tmp_path)
    assert (done.code, "Traceback" in done.err) == (130, False)
    assert_whole(tmp_path / "run")
    assert manifest(tmp_path / "run")["files"][-1]["step"] in (0, 6), "the step under way is lost"
    assert run_here(["resume=run"], tmp_path).code == 0
    assert_same_bits(tmp_path / "run", whole["export=none"])


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_still_one(
    whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OmegaConf does, whose cleaning up fails when it is torn. Negative control: without the signal it is a bug."""

    def torn(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except InterruptedRun:
            raise AttributeError("cleaning up") from None

    monkeypatch.setattr(nnrun.tasks.train.run, "measure", torn)
    assert run_here(words("a step"), tmp_path).code == 130
    assert status(tmp_path / "run")["state"] == "interrupted"
    monkeypatch.setattr(nnrun.tasks.train.run, "measure", lambda *_: {}["a bug"])
    assert run_here(["resume=run"], tmp_path).code == 70
    monkeypatch.undo()
    assert run_here(["resume=run"], tmp_path).code == 0
    assert_same_bits(tmp_path / "run", whole["export=none"])


def test_an_interrupt_that_ends_as_a_fault_of_the_config_is_still_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class that is built while the signal comes. Negative control: without the signal the class is at fault."""
    fault = {"signal": True}

    def torn(*_: object, **__: object) -> None:
        try:
            if fault["signal"]:
                os.kill(os.getpid(), signal.SIGINT)
        finally:
            raise AttributeError("cleaning up")

    monkeypatch.setattr(nnrun.assembly.instantiate, "_made", torn)
    done = run_here(words("a step"), tmp_path)
    assert (done.code, "stopped" in done.err) == (130, True)
    assert status(tmp_path / "run")["state"] == "interrupted"
    fault["signal"] = False
    done = run_here([*words("a step"), "hydra.run.dir=other"], tmp_path)
    assert (done.code, "cleaning up" in done.err) == (2, True)


def test_an_interrupt_that_an_exporter_takes_for_a_failure_is_still_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except InterruptedRun as error:
            raise RuntimeError("the graph is half done") from error

    monkeypatch.setattr(OnnxExporter, "export", torn)
    assert run_here(words("an export"), tmp_path).code == 143
    assert status(tmp_path / "run")["state"] == "interrupted"


def test_a_run_under_nohup_does_not_hear_that_its_terminal_closed(whole: dict[str, Path], tmp_path: Path) -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sending(signal.SIGHUP, *MOMENTS["a step"]):
            assert run_here(words("a step"), tmp_path).code == 0
    finally:
        signal.signal(signal.SIGHUP, earlier)
    assert_same_bits(tmp_path / "run", whole["export=none"])


def test_after_a_run_signals_mean_what_they_meant_before_and_no_thread_is_left(tmp_path: Path) -> None:
    before, threads = [signal.getsignal(name) for name in CODES_AS_SIGNALS], set(threading.enumerate())
    assert run_here(words("a step"), tmp_path).code == 0
    assert [signal.getsignal(name) for name in CODES_AS_SIGNALS] == before
    for thread in set(threading.enumerate()) - threads:
        thread.join(1)
        assert not thread.is_alive(), thread.name


CODES_AS_SIGNALS = [signal.Signals[name] for name in CODES]


def test_a_signal_is_no_exception_that_a_library_would_catch() -> None:
    assert not issubclass(InterruptedRun, Exception)
