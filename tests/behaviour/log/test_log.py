"""task=log: a run that has ended is sent to loggers, and is left as it was."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from nnrun.runs.logged import id_of, logged_rows
from support.command_line import run_here, write_files
from support.small_runs import summary, train, tree

MODULE = """\
import json

class Teller:
    def __init__(self, mood):
        self.mood, self.calls = mood, []

    def start(self, run):
        self.path = run.directory / "told.json"
        self.calls.append(["start", run.id, run.task, run.step, run.sweep, str(run.source), run.config["seed"]])

    def log(self, step, values):
        if self.mood == "fails":
            raise RuntimeError("no server")
        self.calls.append(["log", step, values])

    def image(self, step, name, image):
        self.calls.append(["image", step, name, list(image.shape)])

    def finish(self, summary):
        self.calls.append(["finish", summary])
        self.path.write_text(json.dumps(self.calls))
"""
FILES = {"tell.py": MODULE, "conf/logger/tell.yaml": "# @package logger.tell\n_target_: tell.Teller\nmood: good\n"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("log") / "sweep" / "0_seed-3"
    run.parent.mkdir()
    write_files(run.parents[1], FILES)
    assert train(run, "seed=3", "trainer.epochs=1") == 0
    (run.parent / "sweep.csv").write_text("job\n")
    return run


def test_it_sends_what_a_logger_of_the_run_would_have_got_and_leaves_the_run_as_it_was(run: Path) -> None:
    before = tree(run)
    outcome = run_here(["task=log", f"ckpt={run}", "logger=[csv,tell]", "hydra.run.dir=sent"], run.parents[1])
    assert (outcome.code, outcome.err) == (0, "")
    assert tree(run) == before
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert f"sent {len(rows)} rows of {run} to csv and tell" in outcome.out
    sent = run.parents[1] / "sent"
    start, *calls, finish = json.loads((sent / "told.json").read_text())
    assert start == ["start", id_of(run), "train", 0, f"{run.parents[1].name}/sweep", str(run), 3]
    logged = [(step, values) for name, step, values, *_ in calls if name == "log"]
    assert logged == [(step, values) for step, values in logged_rows(run)]
    assert logged[-1][1] == {f"test/{k}": v for k, v in rows[-1].items() if k not in ("step", "epoch", "split")}
    images = [call for call in calls if call[0] == "image"]
    assert images and images[0][2].startswith("mistakes/01 ") and images[0][3][0] == 1
    told = finish[1]
    assert (told["state"], told["exit_code"], told["metrics"]) == ("finished", 0, summary(run)["metrics"])
    with (sent / "metrics.csv").open(newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["test/accuracy"]) == rows[-1]["accuracy"]


def test_without_samples_no_logger_receives_a_picture(run: Path) -> None:
    """In a training, and sent later; the test above is the negative control."""
    folder = run.parents[1]
    shared = ("logger=tell", "report=default", "report.samples=false")
    assert train(folder / "private", *shared, "trainer.epochs=1") == 0
    outcome = run_here(["task=log", f"ckpt={run}", *shared, "hydra.run.dir=unseen"], folder)
    assert (outcome.code, outcome.err) == (0, "")
    for name in ("private", "unseen"):
        told = json.loads((folder / name / "told.json").read_text())
        assert {call[0] for call in told} >= {"start", "log", "finish"} and "image" not in {call[0] for call in told}


def test_it_says_what_it_lacks_and_that_a_logger_failed(run: Path, tmp_path: Path) -> None:
    """In a training a failing logger leaves the exit code as it is; here it is all that was asked for."""
    lacking = run_here(["task=log", f"ckpt={run}"], run.parents[1])
    assert (lacking.code, lacking.err) == (
        *(2, "nnrun: task=log needs logger=: where to send the run, such as logger=mlflow\n"),
    )
    failing = run_here(["task=log", f"ckpt={run}", "logger=tell", "logger.tell.mood=fails"], run.parents[1])
    assert failing.code == 5
    assert "nnrun: logger.tell fails with RuntimeError: no server" in failing.err
    idle = run_here(["task=log", f"ckpt={run}", "logger=csv", "optimizer.lr=1"], run.parents[1])
    assert "optimizer.lr has no effect with task=log" in idle.out + idle.err


def test_a_damaged_run_is_sent_as_far_as_it_can_be_read(run: Path, tmp_path: Path) -> None:
    """What is lost is said; without a result there is nothing to send."""
    damaged = tmp_path / "run"
    shutil.copytree(run, damaged)
    rows = (run / "metrics.jsonl").read_text().splitlines()
    (damaged / "metrics.jsonl").write_text("\n".join(rows[:2]) + rows[2][:9])
    outcome = run_here(["task=log", f"ckpt={damaged}", "logger=csv"], tmp_path)
    assert outcome.code == 0
    assert "note: metrics.jsonl is damaged: 1 row before that can be sent" in outcome.out
    (damaged / "summary.json").write_text("{")
    outcome = run_here(["task=log", f"ckpt={damaged}", "logger=csv"], tmp_path)
    assert (outcome.code, outcome.err) == (4, f"nnrun: {damaged}/summary.json is damaged, and the results are in it\n")


def test_rows_up_to_a_damaged_line_are_sent_and_nan_is_a_value(tmp_path: Path) -> None:
    lines = [
        '{"step": 4, "epoch": 1, "split": "valid", "loss": null}',
        '{"step": 2, "epoch": 1, "split": "test", "f1": 1}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "spl']) + "\n")
    (first, loss), (second, f1) = logged_rows(tmp_path)
    assert (first, second, f1) == (4, 4, {"test/f1": 1.0})
    assert list(loss) == ["valid/loss"] and loss["valid/loss"] != loss["valid/loss"]
