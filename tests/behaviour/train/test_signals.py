"""Real processes that are stopped by a signal, or whose reader leaves: they save, say how to go on, and can."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command_line import NNRUN, OWN, SHORT, Outcome, environment, run_here, write_files
from support.small_runs import assert_whole, summary


@contextlib.contextmanager
def started(words: list[str], folder: Path, stdout: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A run under way in a process of its own, ended at the latest with the block."""
    process = subprocess.Popen(
        [*NNRUN, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_of(process: subprocess.Popen[str], folder: Path) -> Path:
    """The directory in which a process trains, once it has saved a checkpoint there."""
    while process.poll() is None:
        for status in folder.glob("outputs/*/*/status.json"):
            is_its_own = json.loads(status.read_text())["pid"] == process.pid
            if is_its_own and (status.parent / "checkpoints" / "manifest.json").is_file():
                return status.parent
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


@dataclass(frozen=True)
class Stopped:
    """A run that was stopped: its directory and its status then, what it left behind, and what resuming it said."""

    folder: Path
    run: Path
    status: dict[str, object]
    code: int
    err: str
    resumed: Outcome


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stopped]:
    """Three runs started at once: one gets SIGINT on a narrow terminal, one SIGTERM, one a closed pipe; all go on."""
    folder = tmp_path_factory.mktemp("stopped")
    write_files(folder, OWN)
    words = ["model=mynet", *SHORT[1:4], "data.batch_size=64", "early_stopping=none", "trainer.epochs=100"]
    primary, secondary = pty.openpty()
    with (
        started(words, folder, secondary, NAP_SECONDS="0.05", COLUMNS="40", TERM="xterm") as interrupted,
        started(words, folder, subprocess.DEVNULL, NAP_SECONDS="0.05") as terminated,
        started(words, folder, subprocess.PIPE, NAP_SECONDS="0.05") as piped,
    ):
        os.close(secondary)
        threading.Thread(target=drain, args=(primary,), daemon=True).start()
        processes = {"SIGINT": interrupted, "SIGTERM": terminated, "closed pipe": piped}
        runs = {name: run_of(process, folder) for name, process in processes.items()}
        interrupted.send_signal(signal.SIGINT)
        terminated.send_signal(signal.SIGTERM)
        assert piped.stdout is not None
        piped.stdout.close()
        errs = {name: process.stderr.read() for name, process in processes.items() if process.stderr is not None}
        codes = {name: process.wait() for name, process in processes.items()}
    statuses = {name: json.loads((run / "status.json").read_text()) for name, run in runs.items()}
    for run in runs.values():
        assert_whole(run)
    resumed = {name: run_here([f"resume={run}", "trust=[mynet]"], folder) for name, run in runs.items()}
    return {name: Stopped(folder, runs[name], statuses[name], codes[name], errs[name], resumed[name]) for name in runs}


def drain(descriptor: int) -> None:
    """Read what a terminal is sent, until it is closed."""
    try:
        while os.read(descriptor, 4096):
            pass
    except OSError:
        os.close(descriptor)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_says_how_to_go_on(name: str, code: int, ended: dict[str, Stopped]) -> None:
    it = ended[name]
    assert it.code == code
    (line,) = it.err.splitlines()
    assert line.startswith("nnrun: stopped at step ")
    assert f"nnrun resume={it.run.relative_to(it.folder)}" in line
    assert (it.status["state"], it.status["exit_code"]) == ("interrupted", code)
    assert (it.resumed.code, it.resumed.err) == (0, "")
    assert "resuming from step" in it.resumed.out
    reached = summary(it.run)
    assert (reached["state"], reached["train"]["epochs"], reached["train"]["steps"]) == ("finished", 100, 300)
    assert json.loads((it.run / "status.json").read_text())["state"] == "finished"
    assert "\x1b" not in (it.run / "run.log").read_text(), "colors, or a bar, in the log"


def test_runs_started_at_once_have_their_own_directories(ended: dict[str, Stopped]) -> None:
    runs = {it.run for it in ended.values()}
    assert len(runs) == 3
    assert (ended["SIGINT"].folder / "outputs" / "latest").resolve() in {run.resolve() for run in runs}


def test_a_closed_pipe_is_no_bug(ended: dict[str, Stopped]) -> None:
    """What was saved before is whole, and goes on to the end of the training."""
    it = ended["closed pipe"]
    assert it.code == 5
    assert it.err.startswith("nnrun: standard output was closed")
    assert len(it.err.splitlines()) == 1, "no traceback, no 'Exception ignored'"
    assert (it.status["state"], it.status["exit_code"]) == ("failed", 5)
    assert (it.resumed.code, it.resumed.err) == (0, "")
    assert summary(it.run)["train"]["epochs"] == 100
