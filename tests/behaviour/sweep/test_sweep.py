"""Sweeps: every job that can runs, and the best by the monitored validation metric comes first."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nnrun.base.errors import ConfigError, DataError, InterruptedRun, SweepFailed
from nnrun.cli import collect_rules, compose
from nnrun.config.compose import compose_config
from nnrun.config.overrides import jobs_of, parse_all
from nnrun.sweeps.ranking import Yardstick, choose_ranking
from nnrun.sweeps.sweep import sweep
from nnrun.sweeps.table import JobResult, as_table, ranked
from support.command_line import OWN, SHORT, Outcome, Row, assert_ended_as


def test_jobs_are_ranked_by_the_monitored_metric() -> None:
    def order(mode: str, values: list[float | None]) -> list[int]:
        jobs = [JobResult(n, {}, "", 0 if v is not None else 2, "", "m", v, mode) for n, v in enumerate(values)]
        return [job.number for job in ranked(jobs)]

    values = [0.5, None, 0.25, float("nan"), 0.75]
    assert order("min", values) == [2, 0, 4, 1, 3]
    assert order("max", values) == [4, 0, 2, 1, 3]


def job(number: int, value: float | None, accuracy: float, words: list[str], monitor: str = "valid/loss") -> JobResult:
    mode = "min" if monitor == "valid/loss" else "max"
    metrics = {"valid/accuracy": accuracy}
    of = replace(Yardstick.of(compose(words).resolved()), headline="accuracy")
    return JobResult(number, {}, "", 0, "finished", monitor, value, mode, metrics=metrics, yardstick=of)


@pytest.mark.parametrize(
    ("swept", "order", "says"),
    [
        # The loss of the second is the lowest, its accuracy is not the best.
        (["model.dropout=0.1"], [1, 2, 0], ""),
        (["loss.label_smoothing=0.1"], [2, 1, 0], "ranked by valid/accuracy: the jobs differ in loss.label_smoothing"),
        (["loss=focal"], [2, 1, 0], "ranked by valid/accuracy: the jobs differ in loss._target_"),
        (["loss.weight=balanced"], [2, 1, 0], "ranked by valid/accuracy: the jobs differ in loss.weight"),
        (
            ["data.val_fraction=0.3"],
            [0, 1, 2],
            "not ranked: the jobs differ in data.val_fraction, and may validate on different samples",
        ),
        (["data.split_seed=3"], [0, 1, 2], "not ranked: the jobs differ in data.split_seed"),
        (["data=mnist"], [0, 1, 2], "not ranked: the jobs differ in data.name, data.dataset._target_"),
        (["data.batch_size=16"], [1, 2, 0], ""),
        (["seed=5"], [1, 2, 0], ""),
    ],
)
def test_jobs_whose_numbers_cannot_be_compared_are_ranked_by_others_or_not_at_all(
    swept: list[str], order: list[int], says: str
) -> None:
    jobs = [job(0, 0.9, 0.5, []), job(1, 0.1, 0.7, swept), job(2, 0.5, 0.8, [])]
    assert [each.number for each in ranked(jobs)] == order
    note = choose_ranking(jobs).note
    assert (note or "").startswith(says)
    assert bool(note) == bool(says)


def test_jobs_that_watch_different_metrics_are_ranked_by_one_that_all_have() -> None:
    jobs = [job(0, 0.1, 0.5, []), job(1, 0.8, 0.8, [], "valid/accuracy"), job(2, 0.7, 0.7, [], "valid/accuracy")]
    assert [each.number for each in ranked(jobs)] == [1, 2, 0]
    assert "the jobs monitor different metrics (valid/loss, valid/accuracy)" in str(choose_ranking(jobs).note)
    # The negative control: accuracies are compared whatever the loss is.
    assert (
        choose_ranking([job(n, n, n, [f"loss.label_smoothing=0.{n}"], "valid/accuracy") for n in (1, 2)]).note is None
    )


def test_jobs_of_different_problems_are_not_ranked_by_what_they_do_not_share() -> None:
    one, other = job(0, 0.1, 0.5, []), job(1, 0.8, 0.8, ["loss=focal"])
    other.yardstick = replace(other.yardstick, headline="r2")
    note = choose_ranking([one, other]).note
    assert note is not None
    assert note.startswith("not ranked") and note.endswith("and not all have valid/accuracy and valid/r2")


def test_a_sweep_that_is_killed_leaves_the_table_of_the_jobs_that_are_done(tmp_path: Path, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    done = []

    def perform(*args):
        if len(done) == 2:
            raise Killed
        done.append(1)
        raise ConfigError("as it was meant")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(Killed):
        sweep(["model=mlp", "seed=0,1,2,3", "sweep.parallel=1", "hydra.sweep.dir=s"], [], collect_rules())
    assert [row["job"] for row in read_sweep(tmp_path / "s")] == ["0", "1"]
    states = [job["state"] for job in json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]]
    assert states == ["failed", "failed", "running", "waiting"]


def test_a_sweep_that_was_stopped_in_its_first_job_has_no_table_to_show(tmp_path: Path, monkeypatch, capsys) -> None:
    def perform(*args):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(InterruptedRun) as stopped:
        sweep(["model=mlp", "seed=0,1", "sweep.parallel=1", "hydra.sweep.dir=s"], [], collect_rules())
    assert stopped.value.messages == (
        "sweep stopped after 0 of 2 jobs; the results are in s; resume with: nnrun -m resume=s",
    )
    assert "best first" not in capsys.readouterr().out
    assert read_sweep(tmp_path / "s") == []


def test_all_jobs_are_checked_before_the_first_starts_and_an_edit_changes_none(tmp_path: Path, monkeypatch) -> None:
    """Four jobs are wrong, two of them by their device; the YAML of the others is edited in the first one, in vain."""
    ran: list[tuple[int, float]] = []
    own = tmp_path / "conf" / "model" / "mine.yaml"
    monkeypatch.chdir(tmp_path)
    own.parent.mkdir(parents=True)
    own.write_text(
        f"defaults: [mlp]\n_target_: {compose(['model=mlp']).resolved()['model']['_target_']}\ndropout: 0.1\n"
    )

    def perform(composed, words, directory):
        states = [row["state"] for row in json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]]
        assert "waiting" not in states if ran else states.count("failed") == 4
        ran.append((composed.resolved()["seed"], composed.resolved()["model"]["dropout"]))
        own.write_text(own.read_text().replace("dropout: 0.1", "dropout: 0.3"))
        raise DataError("as it was meant")

    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    words = ["model=mine", "seed=0,-1,2", "trainer.device=cpu,cuda:3", "sweep.parallel=1", "hydra.sweep.dir=s"]
    with pytest.raises(SweepFailed) as failure:
        sweep(words, [tmp_path / "conf"], collect_rules())
    assert failure.value.exit_code == 1
    assert ran == [(0, 0.1), (2, 0.1)]
    assert {(row["job"], row["exit_code"]) for row in read_sweep(tmp_path / "s")} == {
        ("0", "3"),
        ("1", "5"),
        ("2", "2"),
        ("3", "2"),
        ("4", "3"),
        ("5", "5"),
    }
    assert compose_config(["model=mine"], [tmp_path / "conf"], collect_rules()).resolved()["model"]["dropout"] == 0.3


def test_a_sweep_that_fails_fast_starts_no_job_after_a_failure(tmp_path: Path, monkeypatch) -> None:
    def perform(*args):
        raise DataError("as it was meant")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(SweepFailed):
        sweep(["seed=0,1,2", "sweep.fail_fast=true", "sweep.parallel=1", "hydra.sweep.dir=s"], [], collect_rules())
    states = [row["state"] for row in json.loads((tmp_path / "s" / "sweep.json").read_text())["jobs"]]
    assert states == ["failed", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sweep=nosuch"], "sweep=nosuch is not an option; available: cmaes, gp, grid"),
        (["sweep.fail_fast=1"], "sweep.fail_fast is 1; allowed: true or false"),
        (["sweep.fail_first=true"], "sweep.fail_first is not a setting; did you mean 'sweep.fail_fast'?"),
        (["sweep.parallel=1,2"], "'sweep.parallel=1,2': the settings of a sweep cannot be swept over"),
        (["seed=3"], "seed is given twice, but a sweep varies it; remove one of the words"),
    ],
)
def test_a_wrong_setting_of_a_sweep_is_said_before_it_has_a_folder(
    words: list[str], says: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as wrong:
        sweep(["seed=0,1", *words, "hydra.sweep.dir=s"], [], collect_rules())
    assert [message for message in wrong.value.messages if says in message], wrong.value.messages
    assert not (tmp_path / "s").exists()


def test_a_setting_of_a_sweep_has_no_effect_in_a_run() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.parallel has no effect without -m"):
        compose(["sweep.parallel=1"])


def test_a_list_that_was_swept_over_is_in_the_table() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(as_table([JobResult(0, {"augment": "[digits,mixup]"}, "", 0, "finished")], ["augment"], []))
    assert "[digits,mixup]" in console.file.getvalue()


def test_weights_are_swept_over_unless_a_file_has_the_comma_in_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed, problems = parse_all(["transfer.weights=null,a é.pth"])
    assert (list(jobs_of(typed)), problems) == ([["transfer.weights=null"], ["transfer.weights=a é.pth"]], [])
    (tmp_path / "one,two.pth").touch()
    assert list(jobs_of(parse_all(["transfer.weights=one,two.pth"])[0])) == [["transfer.weights=one,two.pth"]]


ROWS: dict[str, Row] = {
    "sweep": Row(["-m", *SHORT, "model=mlp,nosuch", "optimizer.lr=1e-9,1e-3,-1"], 1, ["jobs failed"], folder="sweep"),
    "sweep of moods": Row(
        ["-m", *SHORT, "model=mynet", "model.mood=exits,raises,breaks,well"],
        1,
        ["3 of 4 jobs failed"],
        OWN,
        folder="moods",
    ),
    "sweep that works": Row(
        [
            "-m",
            *SHORT,
            "model=mlp",
            "optimizer.lr=1e-9,1e-3",
            "early_stopping.monitor=valid/accuracy",
            "hydra.sweep.dir=a b=c",
        ],
        0,
        [],
        folder="works",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_sweep_ends_with_its_exit_code(name: str, rows: tuple[Path, dict[str, Outcome]]) -> None:
    assert_ended_as(ROWS[name], rows[1][name])


def sweep_folder(folder: Path) -> Path:
    (path,) = folder.glob("outputs/multirun/*/*")
    return path


def read_sweep(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_runs_what_it_can_and_ranks_it(rows: tuple[Path, dict[str, Outcome]]) -> None:
    """Six jobs: four are wrong (a network that there is not, a negative rate), and the better rate comes first."""
    folder = sweep_folder(rows[0] / "sweep")
    table = read_sweep(folder)
    assert [row["job"] for row in table] == ["1", "0", "2", "3", "4", "5"]
    assert [row["exit_code"] for row in table] == ["0", "0", "2", "2", "2", "2"]
    assert [row["state"] for row in table] == ["finished"] * 2 + ["failed"] * 4
    assert [(row["model"], row["optimizer.lr"]) for row in table[:3]] == [
        ("mlp", "0.001"),
        ("mlp", "1e-09"),
        ("mlp", "-1"),
    ]
    losses = [float(row["valid/loss"]) for row in table[:2]]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]
    assert "optimizer.lr is -1" in table[2]["reason"]
    assert "model=nosuch is not an option" in table[3]["reason"]
    plain = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert [str(job["number"]) for job in plain] == [row["job"] for row in table]
    assert plain[0]["metrics"]["valid/loss"] == losses[0]
    jobs = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    assert [int(path.name.partition("_")[0]) for path in jobs] == list(range(6))
    assert not [path for path in jobs if "=" in path.name or " " in path.name]
    assert {json.loads((path / "status.json").read_text())["state"] for path in jobs} == {"finished", "failed"}
    assert "nnrun: job 2: optimizer.lr is -1" in rows[1]["sweep"].err


def test_a_job_that_raises_or_exits_stops_no_other(rows: tuple[Path, dict[str, Outcome]]) -> None:
    table = read_sweep(sweep_folder(rows[0] / "moods"))
    codes = {row["model.mood"]: row["exit_code"] for row in table}
    assert codes == {"well": "0", "exits": "70", "raises": "2", "breaks": "2"}
    assert table[0]["model.mood"] == "well"
    reasons = {row["model.mood"]: row["reason"] for row in table}
    assert "RuntimeError: in the first step" in reasons["raises"]


def test_a_sweep_ranks_by_what_early_stopping_watches(rows: tuple[Path, dict[str, Outcome]]) -> None:
    table = read_sweep(rows[0] / "works" / "a b=c")
    accuracies = [float(row["valid/accuracy"]) for row in table]
    assert accuracies == sorted(accuracies, reverse=True)
    assert table[0]["optimizer.lr"] == "0.001"
