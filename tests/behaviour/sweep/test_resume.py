"""`nnrun -m resume=SWEEP_DIR`: what is done stays, what was interrupted resumes to the same bits, the rest runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError, DataError, InterruptedRun, NnrunError, ResourceError, SweepFailed
from nnrun.base.lock import locked
from nnrun.sweeps.jobs import Workshop
from nnrun.sweeps.one_by_one import OneByOne
from nnrun.sweeps.record import Record
from nnrun.sweeps.seams import Event
from nnrun.sweeps.sweep import sweep
from nnrun.tasks.rules import collect_rules
from support.command_line import nnrun, run_here, write_files

# Kills its process at the sixth end of an epoch: in the last of the second job's three.
KILLER = {
    "conf/callback/killer.yaml": "# @package callback.killer\n# Kills.\n_target_: killer.Killer\n",
    "killer.py": """\
import os, signal
from nnrun.api import Callback

ENDS = []

class Killer(Callback):
    def on_epoch_end(self, state):
        ENDS.append(1)
        if os.environ.get("KILLS") and len(ENDS) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
""",
}
WORDS = [
    *("-m", "model=mlp", "callback=killer", "seed=0,1,2", "trainer.epochs=3", "data.limit=200", "export=none"),
    *("trainer.progress=false", "sweep.parallel=1", "hydra.sweep.dir=s"),
]


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv, without what a stop changes: the time, and the place."""
    with (folder / "s" / "sweep.csv").open(newline="") as file:
        return [
            {key: v for key, v in row.items() if key not in ("seconds", "directory")} for row in csv.DictReader(file)
        ]


def states(folder: Path) -> dict[int, str]:
    jobs = json.loads((folder / "s" / "sweep.json").read_text())["jobs"]
    return {job["number"]: job["state"] for job in jobs}


def test_a_sweep_that_was_killed_resumes_to_the_same_table(tmp_path: Path) -> None:
    """Negative control: the killed sweep has one row, and its second job resumes from a checkpoint, not from zero."""
    for name in ("killed", "whole"):
        write_files(tmp_path / name, KILLER)
    killed = tmp_path / "killed"
    assert nnrun(WORDS, killed, KILLS="1").returncode == -9
    assert (states(killed), len(table(killed))) == ({0: "finished", 1: "running", 2: "waiting"}, 1)
    (killed / "s" / ".9cd0d4806ea1cc83.tmp").write_text("half a table")  # as a kill within a write leaves it
    outcome = run_here(["-m", "resume=s"], killed)
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    assert not list((killed / "s").glob(".*.tmp"))
    assert "resuming from step" in outcome.out
    assert "job 1 of 3" not in outcome.out
    assert run_here(WORDS, tmp_path / "whole").code == 0
    assert table(killed) == table(tmp_path / "whole")
    assert states(killed) == dict.fromkeys(range(3), "finished")
    assert len([path for path in (killed / "s").iterdir() if path.is_dir() and not path.is_symlink()]) == 3
    # Resumed once more, it has nothing to do.
    assert run_here(["-m", "resume=s"], killed).code == 0
    assert table(killed) == table(tmp_path / "whole")


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of three jobs: the first failed for its data, the second for the disk, the third was interrupted."""
    ends = iter([DataError("no data"), ResourceError("no disk"), KeyboardInterrupt()])

    def perform(*args):
        raise next(ends)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(InterruptedRun):
        sweep(["model=mlp", "seed=0,1,2", "hydra.sweep.dir=s", "sweep.parallel=1"], [], collect_rules())
    assert states(tmp_path) == {0: "failed", 1: "failed", 2: "interrupted"}
    return tmp_path


def test_what_failed_for_the_environment_runs_again_and_what_failed_for_itself_does_not(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def perform(composed, words, directory):
        ran.append(composed.resolved()["seed"])
        raise DataError("still none")

    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(SweepFailed):
        sweep(["resume=s"], [], collect_rules())
    assert ran == [1, 2]
    assert [row["reason"] for row in table(stopped)] == ["no data", "still none", "still none"]


def test_a_resume_that_is_interrupted_as_it_begins_loses_no_job(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*args):
        raise KeyboardInterrupt

    before = {job["number"]: job["directory"] for job in json.loads((stopped / "s" / "sweep.json").read_text())["jobs"]}
    monkeypatch.setattr(Workshop, "again", again)
    with pytest.raises(InterruptedRun):
        sweep(["resume=s"], [], collect_rules())
    jobs = json.loads((stopped / "s" / "sweep.json").read_text())["jobs"]
    assert {job["number"]: job["directory"] for job in jobs} == before
    assert states(stopped)[0] == "failed"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["resume=nosuch"], 2, "resume=nosuch does not exist"),
        (["resume=empty"], 2, "resume=empty is not the folder of a sweep: it has no sweep.json"),
        (["resume=s/2_seed-2"], 2, "it is a run, which is resumed without -m: nnrun resume=s/2_seed-2"),
        (["resume=old"], 2, "run by a version of nnrun before 0.7.0; start it again"),
        (["resume=damaged"], 4, "damaged/sweep.json cannot be read"),
        (["resume=s", "optimizer.lr=1"], 2, "'optimizer.lr=1' would change the jobs of s; start a new sweep"),
        (["resume=s", "model=cnn"], 2, "'model=cnn' cannot change in a resumed sweep; it was 'model=mlp'"),
        (["resume=s", "seed=1,2"], 2, "leave out seed=1,2"),
    ],
)
def test_a_resume_that_cannot_be_says_why(stopped: Path, words: list[str], code: int, says: str) -> None:
    for name, text in (("empty", None), ("old", '{"schema": 1, "jobs": []}'), ("damaged", "{")):
        (stopped / name).mkdir()
        if text is not None:
            (stopped / name / "sweep.json").write_text(text)
    (stopped / "s" / "2_seed-2" / "status.json").write_text("{}")
    with pytest.raises(NnrunError) as error:
        sweep(words, [], collect_rules())
    assert (error.value.exit_code, [says in message for message in error.value.messages]) == (code, [True])


def test_two_processes_do_not_share_the_folder_of_a_sweep(stopped: Path) -> None:
    with locked(stopped / "s"), pytest.raises(ResourceError, match=r"is in use by pid \d+ .* wait for it, or stop it"):
        sweep(["resume=s"], [], collect_rules())
    with pytest.raises(ConfigError, match="choose another, or continue its sweep with nnrun -m resume=s"):
        sweep(["seed=0,1", "hydra.sweep.dir=s"], [], collect_rules())


def test_a_job_whose_config_has_changed_since_is_not_resumed(stopped: Path) -> None:
    record = json.loads((stopped / "s" / "sweep.json").read_text())
    next(job for job in record["jobs"] if job["number"] == 2)["config"] = "that of another YAML"
    (stopped / "s" / "sweep.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="job 2 would not have the config that it had when the sweep began"):
        sweep(["resume=s"], [], collect_rules())


def test_secrets_and_code_are_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(*args):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    words = [
        "seed=0,1",
        "trust=[mine]",
        "+model.api_key=abc123",
        "hydra.sweep.dir=s",
        "model=mynet",
        "sweep.parallel=1",
    ]
    module = "from torch import nn\n\nclass MyNet(nn.Module):\n    def __init__(self, api_key): ...\n"
    write_files(tmp_path, {"conf/model/mynet.yaml": "# Mine.\n_target_: mynet.MyNet\n", "mynet.py": module})
    with pytest.raises(InterruptedRun):
        sweep(words, [tmp_path / "conf"], collect_rules())
    assert "abc123" not in (tmp_path / "s" / "sweep.json").read_text()
    with pytest.raises(ConfigError) as error:
        sweep(["resume=s"], [tmp_path / "conf"], collect_rules())
    assert [message.partition(",")[0] for message in error.value.messages] == [
        "'trust=[mine]' names code to run",
        "'+model.api_key=***' has a secret",
    ]
    with pytest.raises(InterruptedRun):
        sweep(["resume=s", "trust=[mine]", "+model.api_key=abc123"], [tmp_path / "conf"], collect_rules())


@pytest.mark.parametrize("num_written", range(1, 6))
def test_a_sweep_whose_record_cannot_be_written_ends(
    num_written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write fails: no job that was never started, and no event that was lost, is waited for."""
    writes, waits = iter(range(100)), iter(range(100))
    write, wait = Record.write, OneByOne.wait

    def fails(self: Record) -> Path:
        if next(writes) >= num_written:
            raise ResourceError("no room")
        return write(self)

    def waits_for(self: OneByOne, seconds: float) -> Sequence[Event]:
        assert next(waits) < 20, "it waits for ever"
        return wait(self, seconds)

    def perform(*args):
        raise DataError("no data")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Record, "write", fails)
    monkeypatch.setattr(OneByOne, "wait", waits_for)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(ResourceError, match="no room"):
        sweep(["model=mlp", "seed=0,1", "hydra.sweep.dir=s", "sweep.parallel=1"], [], collect_rules())


def test_the_table_of_many_jobs_is_cut_on_the_console_and_whole_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def perform(*args):
        raise DataError("no data")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.sweeps.orders.perform", perform)
    with pytest.raises(SweepFailed):
        sweep(["model=mlp", "seed=range(43)", "hydra.sweep.dir=s", "sweep.parallel=1"], [], collect_rules())
    shown = capsys.readouterr().out.partition("43 jobs")[2]
    assert ("\n 39 " in shown, "\n 40 " in shown, "and 3 jobs more" in shown) == (True, False, True)
    assert len(table(tmp_path)) == 43
