"""`--json`: one document on standard output, whatever happens; `--quiet`: nothing but errors and where the run is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nnrun
from nnrun.base.errors import ConfigError
from support.command_line import OWN, SHORT, Outcome, Row, run_here, write_files
from support.command_line import nnrun as run_apart
from support.small_runs import stop_at

pytestmark = pytest.mark.usefixtures("warm_python")

TINY = [*SHORT, "model=mlp", "trainer.device=cpu"]

ROWS = {
    "trained": Row(["--json", *TINY, "hydra.run.dir=r"], 0, [], folder="a"),
    "evaluated": Row(["ckpt=r", "--json", "-q"], 0, [], folder="a"),
    "inspected": Row(["--json", "-q", "task=inspect", "ckpt=r"], 0, [], folder="a"),
    "resumed, though finished": Row(["--json", "-q", "resume=r"], 0, [], folder="a"),
    "swept": Row(["--json", "-q", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=s"], 0, [], folder="a"),
    "config": Row(["--cfg", "job", "--json", "model=mlp", "optimizer.lr=0.5"], 0, [], folder="a"),
    "quiet": Row(["--quiet", *TINY, "hydra.run.dir=quiet"], 0, [], folder="a"),
    "quiet sweep": Row(["-q", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=t"], 0, [], folder="a"),
    "some jobs fail": Row(
        ["--json", "-q", "-m", *TINY, "optimizer.lr=0.1,-1", "hydra.sweep.dir=u"], 1, ["1 of 2 jobs failed"], folder="a"
    ),
    "wrong config": Row(["--json", "optimizer.lr=-1", "zz=1"], 2, ["optimizer.lr is -1", "zz is not"], folder="a"),
    "no flag": Row(["--json", "--jsn"], 2, ["--jsn is not a flag; did you mean '--json'?"], folder="a"),
    "not Hydra's": Row(["--json", "--info", "searchpath"], 2, ["--json has no effect with --info"], folder="a"),
    "diverged": Row(["--json", "-q", *TINY, "optimizer.lr=1e30", "hydra.run.dir=d"], 6, [], folder="a"),
    "quiet and wrong": Row(["-q", "optimizer.lr=-1"], 2, ["optimizer.lr is -1"], folder="a"),
}
FAILING = ("some jobs fail", "wrong config", "no flag", "not Hydra's", "diverged")
DOCUMENTS = [name for name, row in ROWS.items() if "--json" in row.words]


@pytest.fixture(scope="module")
def folder(rows: tuple[Path, dict[str, Outcome]]) -> Path:
    return rows[0] / "a"


@pytest.fixture(scope="module")
def outcomes(rows: tuple[Path, dict[str, Outcome]]) -> dict[str, Outcome]:
    return rows[1]


@pytest.mark.parametrize("name", ROWS)
def test_the_exit_code_and_what_is_wrong_are_as_ever(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    assert outcome.code == ROWS[name].code, outcome.err
    assert all(text in outcome.err for text in ROWS[name].says)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_one_document_is_all_that_is_printed_and_says_how_it_ended(name: str, outcomes: dict[str, Outcome]) -> None:
    document = json.loads(outcomes[name].out)
    assert (document["schema"], document["exit_code"]) == (1, ROWS[name].code)
    assert document["state"] == {0: "finished", 6: "diverged"}.get(ROWS[name].code, "failed")
    reasons = [line.removeprefix("nnrun: ") for line in outcomes[name].err.splitlines() if line.startswith("nnrun: ")]
    assert document["reason"] == (
        "\n".join(reasons[-document["reason"].count("\n") - 1 :]) if name in FAILING else None
    )


@pytest.mark.parametrize("name", ["trained", "evaluated", "inspected"])
def test_the_document_of_a_run_is_its_summary(name: str, outcomes: dict[str, Outcome], folder: Path) -> None:
    document = json.loads(outcomes[name].out)
    summary = json.loads((folder / document["run"] / "summary.json").read_text())
    assert summary.items() <= document.items()
    assert set(document) - set(summary) == {"exit_code", "reason"}


def test_what_a_run_says_goes_to_standard_error(outcomes: dict[str, Outcome]) -> None:
    """Negative control: with --quiet none of it is said."""
    assert "run directory r\n" in outcomes["trained"].err
    assert "test         accuracy" in outcomes["trained"].err
    for name in ("evaluated", "inspected", "swept", "quiet", "quiet sweep"):
        assert outcomes[name].err == ""


def test_a_run_that_fails_says_how_far_it_came(outcomes: dict[str, Outcome]) -> None:
    document = json.loads(outcomes["diverged"].out)
    assert (document["task"], document["run"]) == ("train", "d")
    assert document["train"]["steps"] >= 1
    assert "NaN" in document["reason"] or "infinite" in document["reason"]


def test_a_run_that_is_stopped_says_so_and_that_it_can_be_resumed(tmp_path: Path) -> None:
    with stop_at(4):
        outcome = run_here(["--json", "-q", *TINY, "hydra.run.dir=r"], tmp_path)
    document = json.loads(outcome.out)
    assert (outcome.code, document["exit_code"], document["state"]) == (143, 143, "interrupted")
    assert document["reason"].endswith("resume with: nnrun resume=r")
    assert document["train"]["steps"] > 0


def test_the_document_of_a_sweep_has_its_jobs_best_first(outcomes: dict[str, Outcome], folder: Path) -> None:
    document = json.loads(outcomes["swept"].out)
    assert (document["run"], document["num_jobs"]) == ("s", 2)
    assert document["jobs"] == json.loads((folder / "s" / "sweep.json").read_text())["jobs"]
    failed = json.loads(outcomes["some jobs fail"].out)
    assert [job["exit_code"] for job in failed["jobs"]] == [0, 2]


def test_quiet_prints_the_directory_alone(outcomes: dict[str, Outcome], folder: Path) -> None:
    """As `run=$(nnrun --quiet)` takes it; nothing where the run failed. The log has all of it."""
    assert (outcomes["quiet"].out, outcomes["quiet sweep"].out) == ("quiet\n", "t\n")
    assert outcomes["quiet and wrong"].out == ""
    assert "test         accuracy" in (folder / "quiet" / "run.log").read_text()


def test_the_config_is_printed_as_json(outcomes: dict[str, Outcome]) -> None:
    config = json.loads(outcomes["config"].out)["config"]
    assert (config["optimizer"]["lr"], config["model"]["_target_"].rpartition(".")[2]) == (0.5, "MLP")


def test_what_code_and_processes_print_is_not_in_the_document(tmp_path: Path) -> None:
    """Negative control: without --json both are on standard output."""
    speaking = OWN["mynet.py"].replace(
        "        self.mood = mood\n",
        "        self.mood = mood\n        print('from python')\n        os.system('echo from a process')\n",
    )
    write_files(tmp_path, OWN | {"mynet.py": speaking})
    words = [*SHORT, "model=mynet"]
    done = run_apart(["--json", *words], tmp_path)
    assert json.loads(done.stdout)["exit_code"] == 0
    assert all(text in done.stderr for text in ("from python", "from a process"))
    plain = run_here(words, tmp_path)
    assert "from python" in plain.out


def test_from_python_the_summary_is_returned_and_quiet_is_quiet(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="its to_json"):
        nnrun.run(["--json"])
    with pytest.raises(ConfigError, match="has no summary to return"):
        nnrun.run(["init", "here"])
    assert nnrun.run(["--quiet", *TINY, "hydra.run.dir=p"]).run == "p"
    assert capsys.readouterr() == ("", "")
