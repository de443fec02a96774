"""A user's own logger: told where a run begins and how it ends, whatever ends it; no fault of its own ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.command_line import NNRUN, OWN, Outcome, environment, run_here, write_files
from support.small_runs import STEPS, STOPS, WORDS, manifest, status, stop_at, summary

# It writes a line for each call into `told.jsonl` of the run's directory, and fails where its mood says so.
MODULE = """\
import json, time

class Teller:
    def __init__(self, mood="good", api_token=""):
        if mood == "is built":
            raise ValueError("no server")
        self.mood, self.api_token = mood, api_token
        self.finish_seconds = {"hangs": 1, "waits": 600}.get(mood.split()[0], 30)

    def tell(self, name, *given):
        with (self.folder / "told.jsonl").open("a") as file:
            file.write(json.dumps([name, *given]) + "\\n")
        if self.mood == name:
            raise RuntimeError(f"no server takes {self.api_token}")
        if self.mood == f"exits in {name}":
            raise SystemExit(3)
        if self.mood == f"is stopped in {name}":
            raise KeyboardInterrupt
        if self.mood in (f"hangs in {name}", f"waits in {name}"):
            time.sleep(600)
        if self.mood == f"naps in {name}":
            time.sleep(4.5)
            self.tell("has napped")

    def start(self, run):
        self.folder = run.directory
        self.tell("start", run.step, run.task, run.config)

    def log(self, step, values):
        self.tell("log", step, values)

    def finish(self, summary):
        self.tell("finish", summary)
"""
YAML = "# @package logger.teller\n_target_: teller.Teller\nmood: good\napi_token: ''\n"
FILES = OWN | {"teller.py": MODULE, "conf/logger/teller.yaml": YAML}


def go(folder: Path, *words: str, stop: int | None = None) -> Outcome:
    """A small training with the logger, in the directory `run`."""
    write_files(folder, FILES)
    run = [] if any(word.startswith(("resume=", "hydra.sweep.dir=")) for word in words) else ["hydra.run.dir=run"]
    begin = [] if any(word.startswith("resume=") for word in words) else [*WORDS, "model=mynet", "logger=teller", *run]
    with stop_at(stop):
        return run_here([*begin, *words], folder)


def told(run: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (run / "told.jsonl").read_text().splitlines()]


def told_so_far(run: Path) -> list[str]:
    """The names of the calls of a run under way: the last line may be half written, or the file not be there yet."""
    path = run / "told.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)[0] for line in lines if line.endswith("\n")]


def names(calls: Sequence[Sequence[Any]]) -> list[str]:
    return [call[0] for call in calls]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    outcome = go(folder, "logger.teller.api_token=s3cr3t")
    assert (outcome.code, outcome.err) == (0, "")
    return folder / "run"


def test_a_logger_is_told_of_the_start_of_each_row_and_of_the_end(good: Path) -> None:
    calls = told(good)
    name, step, task, config = calls[0]
    assert (name, step, task) == ("start", 0, "train")
    assert (config["seed"], config["data"]["num_classes"]) == (0, 10)
    assert config["logger"]["teller"]["api_token"] == "***"
    rows = [json.loads(line) for line in (good / "metrics.jsonl").read_text().splitlines()]
    logged = [(call[1], call[2]) for call in calls if call[0] == "log"]
    for row, (at, values) in zip(rows, logged, strict=True):
        plain = {key: value for key, value in row.items() if key not in ("step", "epoch", "split")}
        assert values == {f"{row['split']}/{name}": value for name, value in plain.items()}
        assert at == row["step"]
    assert logged[-1][0] == 3 * STEPS
    assert logged[-1][1].keys() >= {"test/accuracy", "test/loss"}
    told_at_end, written = calls[-1][1], summary(good)
    assert names(calls).count("finish") == 1
    assert (told_at_end["task"], told_at_end["state"], told_at_end["exit_code"], told_at_end["reason"]) == (
        *("train", "finished", 0, None),
    )
    assert {key: told_at_end[key] for key in written if key != "schema"} == {
        key: value for key, value in written.items() if key != "schema"
    }


@pytest.mark.parametrize("mood", ["start", "log", "finish", "exits in start", "exits in log", "exits in finish"])
def test_one_that_fails_is_named_once_and_the_run_goes_on(mood: str, tmp_path: Path, good: Path) -> None:
    """The good one, whose run has the same bits, is the negative control."""
    outcome, run, method = go(tmp_path, f"logger.teller.mood={mood}"), tmp_path / "run", mood.rsplit(maxsplit=1)[-1]
    assert (outcome.code, outcome.err) == (0, "")
    what = "SystemExit: 3" if "exits" in mood else "RuntimeError: no server takes"
    assert outcome.out.count(f"note: logger.teller fails with {what}") == 1
    assert "teller.py, line " in outcome.out
    assert f"logger.teller fails with {what}" in (run / "run.log").read_text()
    assert names(told(run))[-1] == method
    assert names(told(run)).count(method) == 1
    assert list(summary(run)["failed_loggers"]) == list(status(run)["failed_loggers"]) == ["teller"]
    assert what in status(run)["failed_loggers"]["teller"]
    assert (status(run)["state"], status(run)["exit_code"]) == ("finished", 0)
    assert (run / "metrics.jsonl").read_bytes() == (good / "metrics.jsonl").read_bytes()
    assert summary(good)["failed_loggers"] == {}
    assert "failed_loggers" not in status(good)


def test_what_it_says_of_its_fault_holds_no_secret(tmp_path: Path) -> None:
    outcome = go(tmp_path, "logger.teller.mood=log", "logger.teller.api_token=s3cr3t-token")
    run = tmp_path / "run"
    assert "no server takes ***" in outcome.out
    for path in (run / "status.json", run / "summary.json", run / "run.log"):
        assert "s3cr3t" not in path.read_text()


def test_one_that_cannot_be_built_is_a_wrong_config(tmp_path: Path) -> None:
    outcome = go(tmp_path, "logger.teller.mood=is built")
    assert outcome.code == 2
    assert "logger.teller: teller.Teller cannot be built: ValueError: no server" in outcome.err
    assert not (tmp_path / "run" / "told.jsonl").exists()


ENDS: dict[str, tuple[tuple[str, ...], int | None, int, str, str]] = {
    "the network fails": (("model.mood=raises",), None, 2, "failed", "in the first step"),
    "it diverges": (("optimizer.lr=1e30", "trainer.log_every_steps=1"), None, 6, "diverged", "NaN"),
    "a signal in training": ((), STOPS["mid-epoch"], 143, "interrupted", "resume with: nnrun resume=run"),
    "a signal in the test": ((), STOPS["the final measuring"], 143, "interrupted", "resume with: nnrun resume=run"),
    "an export fails its proof": (
        ("export=onnx", "export.onnx.min_agreement=1", "export.onnx.tolerance=1e-300"),
        *(None, 4, "failed", "export.onnx failed verification"),
    ),
    "a logger is stopped": (("logger.teller.mood=is stopped in log",), None, 130, "interrupted", "resume with"),
}


@pytest.mark.parametrize("name", ENDS)
def test_it_is_told_of_every_end_once(name: str, tmp_path: Path) -> None:
    words, stop, code, state, reason = ENDS[name]
    outcome, run = go(tmp_path, *words, stop=stop), tmp_path / "run"
    assert outcome.code == code, outcome.err
    calls = told(run)
    assert (names(calls)[0], names(calls)[-1], names(calls).count("finish")) == ("start", "finish", 1)
    end = calls[-1][1]
    assert (end["task"], end["state"], end["exit_code"]) == ("train", state, code)
    assert reason in end["reason"]
    assert (status(run)["state"], status(run)["exit_code"], status(run)["reason"]) == (state, code, end["reason"])
    if name in ("a signal in the test", "an export fails its proof"):
        assert end["train"]["steps"] == 3 * STEPS
        assert end["best"]["step"] > 0
        assert end["metrics"]["valid/loss"] > 0


def test_a_failing_finish_leaves_the_exit_code_of_a_run_that_fails(tmp_path: Path) -> None:
    outcome = go(tmp_path, "model.mood=raises", "logger.teller.mood=finish")
    assert outcome.code == 2
    assert outcome.err.startswith("nnrun: model fails with RuntimeError: in the first step")
    assert outcome.out.count("note: logger.teller fails with RuntimeError") == 1
    ended = status(tmp_path / "run")
    assert (ended["state"], ended["exit_code"], list(ended["failed_loggers"])) == ("failed", 2, ["teller"])


def test_ctrl_c_in_the_finish_of_a_run_stops_it(tmp_path: Path) -> None:
    outcome = go(tmp_path, "logger.teller.mood=is stopped in finish")
    assert outcome.code == 130
    assert (status(tmp_path / "run")["state"], status(tmp_path / "run")["exit_code"]) == ("interrupted", 130)


def test_a_resumed_run_tells_its_step_and_sends_nothing_before_it_again(tmp_path: Path, good: Path) -> None:
    """What was sent of later steps than the checkpoint's comes again: a logger that drops it has each value once."""
    run = tmp_path / "run"
    assert go(tmp_path, stop=STOPS["mid-epoch"]).code == 143
    before = told(run)
    saved = int(manifest(run)["last"].split("-")[1])
    assert STEPS < saved < 2 * STEPS
    # The newest checkpoint is lost: the run falls back, and what was logged since is to come again.
    (run / "checkpoints" / manifest(run)["last"]).write_bytes(b"")
    outcome = go(tmp_path, "resume=run", "trust=[mynet,teller]")
    assert outcome.code == 0, outcome.err
    after = told(run)[len(before) :]
    name, step, _, config = after[0]
    assert (name, step, config["seed"]) == ("start", STEPS, 0)
    kept = [call for call in before if call[0] == "log" and call[1] <= step]
    assert [call for call in before if call[0] == "log" and call[1] > step], "something does come again"
    everything = [call for call in told(good) if call[0] == "log"]
    assert kept + [call for call in after if call[0] == "log"] == everything
    assert names(after)[-1] == "finish"


def test_each_job_of_a_sweep_has_a_logger_of_its_own(tmp_path: Path) -> None:
    outcome = go(tmp_path, "-m", "hydra.sweep.dir=sweep", "model.mood=well,raises,well", "seed=0")
    assert outcome.code == 1
    jobs = sorted(path.parent for path in (tmp_path / "sweep").glob("[0-9]*/told.jsonl"))
    assert len(jobs) == 3
    ends = [told(job)[-1][1] for job in jobs]
    assert [names(told(job))[0] for job in jobs] == ["start"] * 3
    assert [(end["state"], end["exit_code"]) for end in ends] == [("finished", 0), ("failed", 2), ("finished", 0)]
    assert [end["run"] for end in ends] == [str(job.relative_to(tmp_path)) for job in jobs]


@contextlib.contextmanager
def under_way(folder: Path, *words: str):
    """A run in a process of its own, from the row on that its logger has been told of: now it counts as started."""
    write_files(folder, FILES)
    words = (*WORDS, "trainer.epochs=1000", "model=mynet", "logger=teller", "hydra.run.dir=run", *words)
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*NNRUN, *words], cwd=folder, env=environment(NAP_SECONDS="0.02"), **pipes)
    try:
        while process.poll() is None and "log" not in told_so_far(folder / "run"):
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_after_a_signal_a_logger_may_take_its_time_and_a_second_ctrl_c_cuts_it_short(tmp_path: Path) -> None:
    """Longer than any other call may take that a signal finds; the second, cut short, would wait for ten minutes."""
    (tmp_path / "slow").mkdir()
    with under_way(tmp_path / "slow", "logger.teller.mood=naps in finish") as process:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert names(told(tmp_path / "slow" / "run"))[-2:] == ["finish", "has napped"]
    (tmp_path / "cut").mkdir()
    with under_way(tmp_path / "cut", "logger.teller.mood=waits in finish") as process:
        os.kill(process.pid, signal.SIGINT)
        while process.poll() is None and told_so_far(tmp_path / "cut" / "run")[-1] != "finish":
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert names(told(tmp_path / "cut" / "run"))[-1] == "finish"
    assert status(tmp_path / "cut" / "run")["state"] == "interrupted"


def test_one_that_hangs_keeps_neither_ctrl_c_from_working_nor_the_process_from_ending(tmp_path: Path) -> None:
    """The steps go on meanwhile, and what they log is in metrics.jsonl."""
    rows = tmp_path / "run" / "metrics.jsonl"
    with under_way(tmp_path, "logger.teller.mood=hangs in log") as process:
        while len(rows.read_text().splitlines()) < 3:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    ended = status(tmp_path / "run")
    assert (ended["state"], ended["failed_loggers"]) == ("interrupted", {"teller": "it has not finished in 1 s"})
    assert names(told(tmp_path / "run")) == ["start", "log"]
