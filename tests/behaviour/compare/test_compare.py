"""`task=compare`: ranked, grouped, tested in pairs, from run directories written in a moment."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.base import foreign_errors
from nnrun.base.lock import locked
from nnrun.base.shown import Chart
from nnrun.config.yaml_files import yaml_text
from nnrun.runs import console
from nnrun.sweeps.compared import compare_jobs
from nnrun.sweeps.table import JobResult
from nnrun.tasks.comparison.chosen import read_runs
from nnrun.tasks.comparison.comparison import compare_runs
from nnrun.tasks.comparison.contents import PAGE_NAME
from nnrun.tasks.comparison.importance import importance_of, with_importance
from support.command_line import SHORT, Outcome, environment, run_here
from support.run_directories import config, results_of, values_of, write_run

pytestmark = pytest.mark.usefixtures("warm_python")


def compared(folder: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """What `--json` prints of a comparison of the runs in `out`."""
    outcome = run_here(["--json", "task=compare", *(words or ("runs=out",))], folder)
    assert outcome.code == code, outcome.err
    return json.loads(outcome.out)


def table(outcome: Outcome) -> list[list[str]]:
    """The rows of the first table, without its titles."""
    lines = outcome.out.partition("─\n")[2].partition("\n\n")[0].splitlines()
    return [line.split() for line in lines]


def directories(entries: list[dict[str, Any]]) -> list[list[str]]:
    return [[Path(run["directory"]).name for run in entry["runs"]] for entry in entries]


def test_best_first_with_the_settings_that_differ_and_those_of_one_seed_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PLAIN_WIDTH", 200)
    for seed, loss in enumerate((0.30, 0.50, 0.40)):
        write_run(tmp_path / "out" / f"slow-{seed}", seed=seed, loss=loss)
    write_run(tmp_path / "out" / "fast", optimizer__lr=0.01, loss=0.35, right=(True,) * 9 + (False,))
    outcome = run_here(["task=compare", "runs=out"], tmp_path)
    assert outcome.code == 0, outcome.err
    # Mean, deviation, best and worst of the group, its members beneath; nothing that all have in common.
    titles = outcome.out.split("best first: lowest valid/loss\n\n")[1].splitlines()[0].split()
    assert titles[:5] == ["run", "optimizer.lr", "seed", "valid/loss", "best"]
    rows = table(outcome)
    assert rows[0][:5] == ["1", "fast", "0.01", "0", "0.3500"]
    assert " ".join(rows[1]).startswith("2 3 runs 0.001 0, 1, 2 0.4000 ± 0.1000 0.3000 0.5000")
    assert [row[:2] for row in rows[2:]] == [["2.1", "slow-0"], ["2.2", "slow-2"], ["2.3", "slow-1"]]
    assert "epochs" not in outcome.out
    # The interval is Wilson's of 9 of 10.
    assert "0.5958 to 0.9821" in " ".join(rows[0])
    where = next((tmp_path / "outputs").glob("*/*_compare"))
    with (where / "compare.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["directory"] for line in lines] == ["out/fast", "out/slow-0", "out/slow-2", "out/slow-1"]
    assert [line["rank"] for line in lines] == ["1", "2", "2", "2"]
    assert (lines[0]["optimizer.lr"], lines[0]["valid/loss"], lines[0]["seconds"]) == ("0.01", "0.35", "1.5")
    assert json.loads((where / "status.json").read_text())["state"] == "finished"


def test_two_runs_are_tested_on_their_samples(tmp_path: Path) -> None:
    right = np.ones(40, dtype=bool)
    other = right.copy()
    other[:9] = False
    right[20] = False
    names = [f"images/{number}.png" for number in range(40)]
    moved = [f"elsewhere/pictures/{name}" for name in names]
    write_run(tmp_path / "out" / "a", loss=0.2, right=right, results=results_of(right, names))
    write_run(tmp_path / "out" / "b", loss=0.3, right=other, results=results_of(other, moved), optimizer__lr=0.1)
    found = compared(tmp_path)["tests"]
    assert len(found) == 1
    assert (found[0]["right only in A"], found[0]["right only in B"], found[0]["num_differing"]) == (9, 1, 10)
    assert found[0]["p"] == pytest.approx(0.021484375)  # 2 * (1 + 10) / 2**10
    assert found[0]["difference"] == pytest.approx(0.2)
    said = run_here(["task=compare", "runs=out"], tmp_path).out
    assert "McNemar's exact test on the same 40 samples: p = 0.0215" in said
    assert "10 test samples on which they differ" in said
    where = next((tmp_path / "outputs").glob("*/*_compare"))
    with (where / "compare_samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    # The largest difference first: the surest of those that differ.
    assert rows[0]["sample"] == "images/20.png"
    assert rows[0]["better"] == "second"
    assert rows[1]["index"] == "8"
    assert {row["index"] for row in rows} == {*map(str, range(9)), "20"}


@pytest.mark.parametrize(("only_other", "is_noted"), [(2, True), (1, False), (9, False)])
def test_a_test_that_the_interval_contradicts_is_said_to_decide(
    tmp_path: Path, only_other: int, is_noted: bool
) -> None:
    """9 to 2 of 200: p = 0.065, and an interval above 0. 9 to 1, and 9 to 9, are clear by both."""
    right, other = np.ones(200, dtype=bool), np.ones(200, dtype=bool)
    other[:9] = right[20 : 20 + only_other] = False
    write_run(tmp_path / "out" / "a", loss=0.2, right=right, results=results_of(right))
    write_run(tmp_path / "out" / "b", loss=0.3, right=other, results=results_of(other), optimizer__lr=0.1)
    said = run_here(["task=compare", "runs=out"], tmp_path).out
    assert ("test and interval disagree, as they may near the limit; the test decides" in said) == is_noted


def test_values_are_tested_by_their_errors(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    targets = draw.normal(size=(60, 2)) * (1, 10)
    noise = draw.normal(size=(60, 2)) * (1, 10)
    problem = "nnrun.components.problems.regression.Regression"
    r2 = {}
    for name, size in (("near", 0.1), ("far", 0.3)):
        predictions = (targets + size * noise).astype(np.float32)
        r2[name] = float((1 - np.square(predictions - targets).mean(0) / targets.var(0)).mean())
        write_run(
            tmp_path / "out" / name,
            results=values_of(predictions, targets),
            metrics={"valid/loss": size, "test/r2": r2[name]},
            summary={"headline": "r2"},
            problem___target_=problem,
        )
    (found,) = compared(tmp_path)["tests"]
    assert found["test"] == "Wilcoxon's signed-rank test"
    assert found["p"] < 1e-6
    # The mean of the differences is that of the metric itself.
    assert found["difference"] == pytest.approx(r2["near"] - r2["far"], abs=1e-4)
    assert found["interval"][0] < found["difference"] < found["interval"][1]


@pytest.mark.parametrize("change", ["targets", "names", "number", "kept", "missing", "damaged"])
def test_runs_that_were_not_tested_on_the_same_samples_are_not_paired(tmp_path: Path, change: str) -> None:
    first = results_of((True,) * 10, [f"{n}.png" for n in range(10)])
    right, names = (True,) * (9 if change == "number" else 10), [f"{n}.png" for n in range(10)]
    if change == "names":
        names[3] = "another.png"
    results = results_of(right, names[: len(right)])
    if change == "targets":
        results.targets[:2] = results.targets[1::-1]
    if change == "kept":
        for side in (first, results):
            object.__setattr__(side, "num_samples", 100)
    write_run(tmp_path / "out" / "a", results=first)
    write_run(tmp_path / "out" / "b", results=results, optimizer__lr=0.1)
    if change == "missing":
        (tmp_path / "out" / "b" / "test_samples.npz").unlink()
    if change == "damaged":
        (tmp_path / "out" / "b" / "test_samples.npz").write_bytes(b"PK\x03\x04 no zip")
    (found,) = compared(tmp_path)["tests"]
    assert "p" not in found
    expected = {
        "targets": "different targets",
        "names": "different names",
        "number": "on 10 and 9 samples",
        "kept": "kept the results of 10 of 100",
        "missing": "not evaluated on its test split",
        "damaged": "cannot be read",
    }
    assert expected[change] in found["reason"]


def test_runs_on_other_data_or_by_another_metric_are_ranked_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "out" / "digits-a", loss=0.4)
    write_run(tmp_path / "out" / "digits-b", loss=0.3, optimizer__lr=0.1)
    write_run(tmp_path / "out" / "mnist", loss=0.1, data__name="mnist")
    write_run(
        tmp_path / "out" / "by-accuracy",
        loss=0.2,
        early_stopping__monitor="valid/accuracy",
        summary={"monitor": "valid/accuracy", "mode": "max"},
    )
    found = compared(tmp_path)
    assert [directories(family["entries"]) for family in found["families"]] == [
        [["digits-b"], ["digits-a"]],
        [["by-accuracy"]],
        [["mnist"]],
    ]
    assert [family["metric"] for family in found["families"]] == ["valid/loss", "valid/accuracy", "valid/loss"]
    assert [family["name"] for family in found["families"]] == [
        "data.name=digits",
        "data.name=digits",
        "data.name=mnist",
    ]
    # By a metric that is named, those on the same data are ranked together; by the test, that is said.
    found = compared(tmp_path, "runs=out", "compare.metric=test/accuracy")
    assert [len(family["entries"]) for family in found["families"]] == [3, 1]
    assert any("looks better than it is" in note for note in found["notes"])


def test_runs_with_another_loss_are_ranked_by_the_main_metric(tmp_path: Path) -> None:
    write_run(tmp_path / "out" / "plain", loss=0.2)
    write_run(tmp_path / "out" / "smooth", loss=0.4, loss__label_smoothing=0.1)
    found = compared(tmp_path)
    assert [family["metric"] for family in found["families"]] == ["valid/accuracy"]
    assert "ranked by valid/accuracy: the runs differ in their loss" in found["notes"][0]


def test_the_best_is_tested_against_the_next_with_holms_correction(tmp_path: Path) -> None:
    for number, num_right in enumerate((40, 33, 31, 30)):
        right = (True,) * num_right + (False,) * (40 - num_right)
        write_run(tmp_path / "out" / f"r{number}", loss=0.1 * number + 0.1, right=right, optimizer__lr=10.0**-number)
    found = compared(tmp_path, "runs=out", "compare.tests=3")["tests"]
    assert [Path(test["second"]).name for test in found] == ["r1", "r2"]
    assert [test["p"] for test in found] == [pytest.approx(2 / 2**7), pytest.approx(2 / 2**9)]
    assert [test["p_corrected"] for test in found] == [pytest.approx(2 / 2**7), pytest.approx(4 / 2**9)]
    assert "corrected for their number (Holm)" in run_here(["task=compare", "runs=out"], tmp_path).out


def test_runs_without_a_result_are_listed_with_their_state(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(out / "good")
    write_run(out / "failed", state="failed", status={"reason": "the disk is full"})
    write_run(out / "killed", state="running", status={"host": os.uname().nodename})
    write_run(out / "elsewhere", state="running", status={"host": "another-machine"})
    write_run(out / "under-way", state="running", status={"host": os.uname().nodename})
    write_run(out / "diverged", state="diverged")
    stopped = write_run(out / "stopped", state="interrupted")
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 42, "epoch": 1, "split": "test", "loss": 0.1}) + "\n")
    with locked(out / "under-way"):
        found = compared(tmp_path)
    states = {
        Path(run["directory"]).name: (run["state"], run["reason"]) for e in found["not_ranked"] for run in e["runs"]
    }
    assert states["failed"] == ("failed", "epoch 2, best valid/loss 1 so far; the disk is full")
    # The row of the test has the epoch of the best weights.
    assert states["stopped"] == ("interrupted", "epoch 2, best valid/loss 1 so far")
    assert states["killed"][0] == "killed"
    assert states["under-way"][0] == states["elsewhere"][0] == "running"
    assert "running on another-machine" in str(states["elsewhere"][1])
    assert states["diverged"][0] == "diverged"
    assert directories(found["families"][0]["entries"]) == [["good"]]


HOSTILE = {
    "not json": ("summary.json", b"{"),
    "no mapping": ("summary.json", b"[1, 2]"),
    "metrics of wrong types": ("summary.json", b'{"metrics": {"valid/loss": "low", "a": [1], "b": true}}'),
    "metrics no mapping": ("summary.json", b'{"metrics": 3}'),
    "all of wrong types": (
        "summary.json",
        b'{"metrics": {"valid/loss": 1e999, "test/accuracy": 7}, "monitor": 3, "mode": [], "best": 1, "headline": {},'
        b'"wall_seconds": "long", "details": 2, "task": 5}',
    ),
    "huge number": ("summary.json", b'{"metrics": {"valid/loss": ' + b"9" * 400 + b"}}"),
    "deep": ("summary.json", b'{"a":' * 100_000),
    "huge": ("summary.json", b" " * (17 * 2**20)),
    "status": ("status.json", b"\x00\xff"),
    "state": ("status.json", b'{"state": ["finished"], "task": 4, "reason": {}}'),
    "config of wrong types": ("config.yaml", b"data: 3\nmodel: [1]\nloss: x\nseed: {a: [1]}\nproblem: null\n"),
    "config with bytes": ("config.yaml", b"\xff\xfe\x00"),
    "config deep": ("config.yaml", b"a: " + b"[" * 50_000),
    "config bomb": (
        "config.yaml",
        b"a: &a [x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 110)),
    ),
    "environment": ("environment.json", b'{"versions": 3, "device": {"a": 1}}'),
    "rows": ("metrics.jsonl", b'\x00\n[]\n{"epoch": "x"}\n{"epoch": 1, "split": 4}\n' + b"9" * 2**21),
    "samples": ("test_samples.npz", b"PK" + b"\x00" * 64),
    "escape codes": ("status.json", b'{"state": "failed", "reason": "\\u001b[31mred\\u0007\\u202e", "task": "train"}'),
}


def test_hostile_run_directories_are_rows_with_a_reason(tmp_path: Path) -> None:
    good = write_run(tmp_path / "out" / "good", loss=0.4)
    for number, (name, (file, content)) in enumerate(HOSTILE.items()):
        bad = tmp_path / "out" / f"b\x1b[31mad {name}"
        shutil.copytree(good, bad)
        (bad / "config.yaml").write_text(yaml_text(config(optimizer__lr=0.1 + number)))
        (bad / file).write_bytes(content)
    outcome = run_here(["task=compare", "runs=out", "compare.rows=100"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert not {"\x1b", "\x07", "\u202e"} & set(outcome.out)
    for name in HOSTILE:
        assert f"b\\x1b[31mad {name}" in outcome.out
    assert "b\\x1b[31mad escape codes" in outcome.out
    found = compared(tmp_path)
    every = [entry for family in found["families"] for entry in family["entries"]] + found["not_ranked"]
    reasons = {
        Path(run["directory"]).name.partition("ad ")[2]: (entry["reason"] or run["reason"])
        for entry in every
        for run in entry["runs"]
    }
    assert len(reasons) == len(HOSTILE) + 1
    # These leave the metrics readable: the run is ranked as it is.
    harmless = {"", "environment", "rows", "samples", "config of wrong types"}
    assert {name for name, reason in reasons.items() if reason is None} == harmless
    assert reasons["huge"] == "summary.json cannot be read: it has more than 16,777,216 bytes"
    assert reasons["metrics of wrong types"] == "valid/loss, a, b in summary.json is not a number"


@pytest.mark.parametrize("width", [60, 80])
def test_no_number_breaks_on_a_narrow_terminal(tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PLAIN_WIDTH", width)
    for number in range(3):
        write_run(
            tmp_path / "out" / f"a-long-name-of-a-run-{number}",
            loss=0.123456 + number,
            optimizer__lr=1.5e-5 * 10**number,
            model__hidden=[128 + number, 64],
        )
    outcome = run_here(["task=compare", "runs=out"], tmp_path)
    rows = [row for row in table(outcome) if row]
    assert [row[0] for row in rows] == ["1", "2", "3"]  # no row goes on in a second line
    assert "0.1235" in rows[0]
    assert {"1.5e-05", "[128,"} & set(rows[0]), "what differs stays longer than intervals"
    assert "no room for: run" in outcome.out
    assert all(len(line) <= width for line in outcome.out.partition("\n\n")[2].partition("\n\n")[0].splitlines())
    # The runs are named below.
    assert "1  out/a-long-name-of-a-run-0" in outcome.out


def test_a_sweep_ends_with_a_comparison_that_the_command_can_repeat(tmp_path: Path) -> None:
    """Two real runs; the table of the sweep is as it was."""
    short = [word for word in SHORT if word != "report=none"]
    outcome = run_here(["-m", *short, "model=mlp", "seed=0,1"], tmp_path)
    assert outcome.code == 0, outcome.err
    (sweep,) = (tmp_path / "outputs" / "multirun").glob("*/*")
    shown = {path.name for path in sweep.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert shown == {"sweep.csv", "sweep.json", "report.html", PAGE_NAME}
    said = outcome.out.partition("mean and standard deviation over the seeds, best first by valid/loss")[2]
    values = [float(row["valid/loss"]) for row in csv.DictReader((sweep / "sweep.csv").open())]
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert f"1   0, 1   {mean:.4f} ± {deviation:.4f}   {min(values):.4f}   {max(values):.4f}" in said
    assert "0_seed-0 against 1_seed-1 on the" in said or "1_seed-1 against 0_seed-0 on the" in said
    assert "<title>Jobs of a sweep</title>" in (sweep / PAGE_NAME).read_text()
    found = compared(tmp_path, f"runs={sweep}")
    entry = found["families"][0]["entries"][0]
    assert (entry["value"], entry["deviation"]) == (pytest.approx(mean), pytest.approx(deviation))
    assert found["tests"][0]["num_samples"] == found["tests"][0]["right in both"] + sum(
        found["tests"][0][name] for name in ("right only in A", "right only in B", "wrong in both")
    )
    # A sweep of one job has a page too; with report=none there is none.
    for name, words in (("one", []), ("none", ["report=none"])):
        outcome = run_here(["-m", *short, "model=mlp", *words, f"hydra.sweep.dir={name}"], tmp_path)
        assert (outcome.code, (tmp_path / name / "report.html").exists()) == (0, not words)
        assert (tmp_path / name / PAGE_NAME).exists() == (not words)
    assert "1 run, best first by valid/loss" in (tmp_path / "one" / PAGE_NAME).read_text()


def test_the_page_has_curves_settings_metrics_and_the_samples_that_differ(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    right, other = np.ones(40, dtype=bool), np.ones(40, dtype=bool)
    other[:9] = False
    names = [f"{hostile}/{number}.png" for number in range(40)]
    for name, one, rate in ((hostile.replace("/", ""), right, 0.01), ("b", other, 0.1)):
        results = replace(results_of(one, names), texts={8: f"{hostile} 8"} if name == "b" else {})
        write_run(tmp_path / "out" / name, right=one, results=results, optimizer__lr=rate)
    outcome = run_here(["task=compare", "runs=out"], tmp_path)
    where = next((tmp_path / "outputs").glob("*/*_compare"))
    page = (where / PAGE_NAME).read_text()
    for title in (
        "valid/loss by epoch",
        "train/loss by epoch",
        "Settings and the metric",
        "test/accuracy by valid/loss",
    ):
        assert f">{title}<" in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;/8.png" in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt; 8<") == 1
    assert "McNemar&#39;s exact test" in page
    assert f"{where}/{PAGE_NAME}".removeprefix(f"{tmp_path}/").rpartition("/")[2] in outcome.out
    # Names of samples are the user's: where the runs leave them out, so does this.
    for run in (tmp_path / "out").iterdir():
        with (run / "config.yaml").open("a") as file:
            file.write("report:\n  samples: false\n")
    run_here(["task=compare", "runs=out", "hydra.run.dir=private"], tmp_path)
    private = (tmp_path / "private" / PAGE_NAME).read_text()
    assert "8.png" not in private and "&gt; 8<" not in private
    assert not (tmp_path / "private" / "compare_samples.csv").exists()


def test_with_many_columns_the_page_has_the_directories_in_a_table_of_their_own(tmp_path: Path) -> None:
    """And what fits into neither is named. With few columns a path is the last one."""
    changed: dict[str, Any] = {f"optimizer__{name}": value for name, value in zip("abcdefghij", range(10), strict=True)}
    write_run(tmp_path / "out" / "first", loss=0.2, **changed)
    write_run(tmp_path / "out" / "second", loss=0.3, **{key: value + 1 for key, value in changed.items()})
    page = page_of_runs(tmp_path, "wide")
    assert ">directories</h3>" in page
    assert "Also in compare.csv: size, time, " in page
    for run in (tmp_path / "out").iterdir():
        shutil.rmtree(run)
    write_run(tmp_path / "out" / "first", loss=0.2)
    write_run(tmp_path / "out" / "second", loss=0.3, optimizer__lr=0.1)
    narrow = page_of_runs(tmp_path, "narrow")
    assert ">directories</h3>" not in narrow
    assert "compare.csv" not in narrow


def write_grid(folder: Path, rates: int) -> None:
    """Runs with so many learning rates, each with three values of dropout: the rate decides, dropout hardly."""
    for rate in range(rates):
        for drop in range(3):
            loss = 0.2 + 0.1 * abs(rate - 1.5) + 0.002 * drop
            changed = {"optimizer__lr": 10.0 ** (rate - 5), "model__dropout": 0.1 * drop}
            write_run(folder / "out" / f"{rate}-{drop}", loss=loss, right=None, **changed)


def test_without_optuna_the_page_says_what_shows_the_importance_of_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few runs it would show none; the console says nothing."""
    monkeypatch.setattr(foreign_errors, "find_spec", lambda name: None)
    write_grid(tmp_path, rates=3)
    assert "importance of settings" not in page_of_runs(tmp_path, "few")
    shutil.rmtree(tmp_path / "out")
    write_grid(tmp_path, rates=4)
    assert "pip install &#39;nnrun[sweep]&#39;" in page_of_runs(tmp_path, "more")
    assert "nnrun[sweep]" not in (tmp_path / "more" / "run.log").read_text()


def test_the_page_of_a_sweep_lists_failures_with_their_reasons_and_counts_what_was_ended_early(tmp_path: Path) -> None:
    """Without any of these it has no such section."""
    states = ["finished"] * 3 + ["failed", "pruned", "pruned"]
    results = []
    for number, state in enumerate(states):
        path = write_run(tmp_path / f"{number}", state="failed" if state == "failed" else "finished", seed=number)
        code, reason = (3, "rate too <high>") if state == "failed" else (0, None)
        results.append(JobResult(number, {"seed": f"{number}"}, str(path), code, state, reason=reason))
    compare_jobs(results, tmp_path, ["seed=0,1"], {}, console.Console())
    page = (tmp_path / PAGE_NAME).read_text()
    assert ">Failures<" in page
    assert "1 of 6 jobs failed" in page
    assert [cell in page for cell in ("seed=3", "rate too &lt;high&gt;")] == [True, True]
    assert "2 of 6 jobs were ended early by the search (pruned)." in page
    assert "Without a result to rank" not in page
    compare_jobs(results[:3], tmp_path, ["seed=0,1"], {}, console.Console())
    without = (tmp_path / PAGE_NAME).read_text()
    assert [text in without for text in (">Failures<", "ended early")] == [False, False]


@pytest.mark.extras
def test_the_setting_that_decides_has_most_of_the_importance(tmp_path: Path) -> None:
    write_grid(tmp_path, rates=4)
    page = page_of_runs(tmp_path, "out-of-12")
    assert ">Importance of settings<" in page
    assert "Share of the variance of valid/loss that each setting explains alone, estimated from 12 runs" in page
    runs, _ = read_runs(str(tmp_path / "out"))
    comparison = compare_runs(runs)
    comparison = with_importance(comparison)
    (chart,) = importance_of(comparison.ranked.families[0], comparison)
    assert isinstance(chart, Chart)
    assert chart.x[0] == "optimizer.lr"
    rate, dropout = map(float, map(str, chart.series["share"]))
    assert rate > 0.8
    assert dropout < 0.1
    # Of what follows from another setting nothing is said once a command line names the settings.
    for run in (tmp_path / "out").iterdir():
        (run / "overrides.yaml").write_text("- optimizer.lr=0.1\n- seed=1\n")
        with (run / "config.yaml").open("a") as file:
            file.write(f"seed: {run.name[-1]}\n")
    comparison = compare_runs(read_runs(str(tmp_path / "out"))[0])
    comparison = with_importance(comparison)
    (chart,) = importance_of(comparison.ranked.families[0], comparison)
    assert isinstance(chart, Chart)
    assert list(chart.x) == ["optimizer.lr", "seed"]


@pytest.mark.extras
def test_runs_that_were_ended_early_count_by_the_epoch_that_all_reached(tmp_path: Path) -> None:
    """Negative control: with enough results, they are not counted, and that is said."""
    write_grid(tmp_path, rates=4)
    early = sorted((tmp_path / "out").iterdir())[:4]
    for run in early:
        (run / "status.json").write_text(json.dumps({"schema": 1, "task": "train", "state": "interrupted"}))
        (run / "summary.json").unlink()
        first = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"epoch": 1' in line]
        (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in first))
    page = page_of_runs(tmp_path, "early")
    assert (
        "of valid/loss after 1 epoch, which all reached, that each setting explains alone, estimated from 12 runs"
        in page
    )
    (family,) = json.loads((tmp_path / "early" / "compare.json").read_text())["families"]
    found = family["importance"]
    assert (found["num_runs"], found["after_epochs"], next(iter(found["shares"]))) == (12, 1, "optimizer.lr")
    write_grid(tmp_path / "more", rates=4)
    for run in (tmp_path / "more" / "out").iterdir():
        shutil.move(run, tmp_path / "out" / f"more-{run.name}")
    assert "4 runs without a result not counted" in page_of_runs(tmp_path, "late")


def page_of_runs(folder: Path, name: str) -> str:
    outcome = run_here(["task=compare", "runs=out", f"hydra.run.dir={name}"], folder)
    assert outcome.code == 0, outcome.err
    return (folder / name / PAGE_NAME).read_text()


@pytest.mark.parametrize("key", ["trainer__watch", "trainer__profile", "trainer__watch_every_steps"])
def test_what_is_only_watched_does_not_differ(tmp_path: Path, key: str) -> None:
    """Such runs have the same results to the last bit; `trainer.epochs` is the negative control."""
    for changed, differing in ((key, []), ("trainer__epochs", ["trainer.epochs"])):
        for number in (1, 2):
            write_run(tmp_path / changed / f"{number}", loss=0.2, **{changed: number})
        assert compared(tmp_path, f"runs={changed}")["settings_that_differ"] == differing


def test_200_runs_are_compared_without_torch(tmp_path: Path) -> None:
    first = write_run(tmp_path / "out" / "0", loss=0.2)
    for number in range(1, 200):
        run = tmp_path / "out" / f"{number}"
        write_run(run, loss=0.2 + number / 1000, optimizer__lr=0.001 * (1 + number), right=None)
        shutil.copy(first / "test_samples.npz", run)
    script = (
        "import sys\nfrom nnrun.cli import main\n"
        "code = main(['--quiet', 'task=compare', 'runs=out'])\n"
        "print(code, *({'torch', 'pandas', 'altair', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=True
    )
    code, *imported = done.stdout.splitlines()[-1].split()
    assert (code, imported) == ("0", [])


def test_it_needs_runs_and_takes_nothing_else(tmp_path: Path) -> None:
    write_run(tmp_path / "out" / "a")
    rows = {
        ("task=compare",): "task=compare needs runs=",
        ("runs=out",): "runs=out has no effect without task=compare or task=clean",
        ("task=compare", "runs=out", "model=cnn"): "model would have no effect with task=compare",
        ("-m", "task=compare", "runs=out", "seed=0,1"): "cannot be a job of a sweep",
        ("task=compare", "runs=out", "compare.metric=test/acc"): "compare.metric is 'test/acc'; allowed: test/accuracy",
    }
    for words, says in rows.items():
        outcome = run_here(words, tmp_path)
        assert outcome.code == 2, words
        assert says in outcome.err
    assert run_here(["task=compare", "runs=gone"], tmp_path).code == 4
    misspelled = run_here(["task=compare", "runs=out", "compare.metrik=x"], tmp_path).err.splitlines()
    assert misspelled == ["nnrun: compare.metrik is not a setting; did you mean 'compare.metric'?"]
