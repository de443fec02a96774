"""The launcher of a Slurm cluster, without one: what it asks for, what it refuses, and why jobs left the queue."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from nnrun.base.errors import ResourceError
from nnrun.cli import compose, main
from nnrun.runs.console import Console
from nnrun.sweeps.exchange import Exchange
from nnrun.sweeps.seams import Decision, Ended, Order
from nnrun.sweeps.slurm import SlurmLauncher
from nnrun.sweeps.slurm_array import SlurmSettings
from nnrun.sweeps.slurm_job import JOB_FILE, ClusterJob, save_order
from support.small_runs import WORDS

SETTINGS = SlurmSettings(
    partition="gpu",
    nodes=1,
    gpus_per_node=None,
    cpus_per_task=4,
    mem_gb=1.5,
    minutes=30,
    warning_seconds=90,
    requeues=3,
    array_parallelism=8,
    setup=["module load cuda"],
    additional={"account": "physics"},
)


def a_launcher(names: list[str], monkeypatch: pytest.MonkeyPatch) -> SlurmLauncher:
    """A launcher whose jobs get these numbers from Slurm."""
    monkeypatch.setattr("nnrun.sweeps.slurm.submit_array", lambda settings, folder, name, jobs: names[: len(jobs)])
    return SlurmLauncher(Path("s"), SETTINGS, [], Console(), awaits=False)


def test_what_a_job_asks_for() -> None:
    """What is null is left to the cluster; every job may be requeued."""
    assert SETTINGS.parameters("nnrun-s") == {
        "job_name": "nnrun-s",
        "time": 30,
        "partition": "gpu",
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": 4,
        "srun_args": ["--cpus-per-task=4"],
        "mem": "1536MB",
        "signal_delay_s": 90,
        "array_parallelism": 8,
        "setup": ["module load cuda"],
        "additional_parameters": {"requeue": True, "account": "physics"},
    }


@pytest.mark.parametrize(
    ("says", "log", "may_succeed", "reason"),
    [
        ("7_0|NODE_FAIL|None", "", True, "its node failed, and Slurm did not put it back into the queue"),
        ("7_0|CANCELLED|None", "", False, "cancelled in Slurm (scancel)"),
        ("7_0|OUT_OF_MEMORY|None", "", False, "out of memory: Slurm ended it; set a larger launch.mem_gb"),
        ("7_0|FAILED|x", "error: Detected 1 oom_kill event in StepId=7.0", False, "out of memory: Slurm ended it"),
        ("7_0|PENDING|launch failed requeued held", "", True, "Slurm could not start it again, and holds it"),
        ("", "", False, "left Slurm's queue without a word"),
    ],
)
def test_a_job_that_left_the_queue_has_a_reason(  # noqa: PLR0913, PLR0917
    slurm: Path, monkeypatch: pytest.MonkeyPatch, says: str, log: str, may_succeed: bool, reason: str
) -> None:
    launcher = a_launcher(["7_0"], monkeypatch)
    launcher.start(Order(3, ["model=mlp"], Path("s/3")))
    (slurm / "s" / "slurm" / "7_0_0_log.err").write_text(log)
    (slurm / "squeue.says").write_text("7_0|RUNNING|None\n")
    assert launcher.wait(0) == []
    (slurm / "squeue.says").write_text(says + "\n")
    (end,) = launcher.wait(0)
    assert isinstance(end, Ended)
    assert (end.number, end.exit_code, end.is_environments_fault) == (3, 5, may_succeed)
    assert end.reason.startswith(reason)
    assert not (slurm / "s" / "slurm" / "3" / JOB_FILE).exists()


def test_a_controller_that_does_not_answer_ends_no_job(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = a_launcher(["7"], monkeypatch)
    launcher.start(Order(0, ["model=mlp"], Path("s/0")))
    (slurm / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert launcher.wait(0) == launcher.wait(0) == []


def test_a_job_that_may_still_run_is_not_submitted_twice(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = a_launcher(["7"], monkeypatch)
    first.start(Order(0, ["model=mlp"], Path("s/0")))
    first.wait(0)
    answer = (slurm / "bin" / "squeue").read_text()
    (slurm / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    again = a_launcher(["8"], monkeypatch)
    with pytest.raises(ResourceError, match="Slurm does not say whether its job 7 still runs"):
        again.start(Order(0, ["model=mlp"], Path("s/0")))
    (slurm / "bin" / "squeue").write_text(answer)
    (slurm / "squeue.says").write_text("7|RUNNING|None\n")
    again.start(Order(0, ["model=mlp"], Path("s/0")))
    assert again.number_of(0) == "7"


def test_jobs_are_stopped_by_a_file_and_those_that_wait_by_slurm(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = a_launcher(["7_0", "7_1"], monkeypatch)
    for number in (0, 1):
        launcher.start(Order(number, ["model=mlp"], Path(f"s/{number}")))
    (slurm / "squeue.says").write_text("7_0|RUNNING|None\n7_1|PENDING|None\n")
    launcher.wait(0)
    launcher.stop()
    assert (slurm / "scancel.calls").read_text() == "--state=PENDING 7_0 7_1\n"
    (slurm / "squeue.says").write_text("7_0|RUNNING|None\n7_1|CANCELLED|None\n")
    (end,) = launcher.wait(0)
    assert isinstance(end, Ended) and (end.number, end.exit_code) == (1, 143)
    assert Exchange(slurm / "s" / "slurm" / "0").is_told_to_end


def test_a_missing_command_or_extra_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("nnrun.sweeps.slurm_queue.check_package", lambda what, module: None)
    with pytest.raises(ResourceError, match="there is no sbatch on the PATH; start it on a login node"):
        SlurmLauncher(Path("s"), SETTINGS, [], Console(), awaits=False)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnrun.base.foreign_errors.find_spec", lambda name: None)
    assert main(["-m", "launch=slurm", "model=mlp", "seed=0,1"]) == 5
    assert not list(tmp_path.iterdir()), "the same command can be given again"
    assert "pip install 'nnrun[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("launch.minutes=0", "launch.minutes is 0; allowed: a whole number from 1 up"),
        ("launch.mem_gb=-1", "launch.mem_gb is -1; allowed: a finite number above 0 or null"),
        ("launch.setup=ls", "launch.setup is 'ls'; allowed: a list of shell commands"),
        ("launch.additional=x", "launch.additional"),
        ("launch.partitoin=gpu", "did you mean 'launch.partition'?"),
        ("sweep.jobs_per_device=2", "sweep.jobs_per_device has no effect with launch=slurm"),
        ("launch.nodes=2", "launch.nodes=2: a job of a sweep uses one node; leave launch.nodes out"),
    ],
)
def test_wrong_settings_are_said_without_submitit(word: str, answer: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "submitit", raising=False)
    assert main(["-m", "launch=slurm", word, "model=mlp", "seed=0,1"]) == 2
    assert answer in capsys.readouterr().err
    assert "submitit" not in sys.modules


def run(folder: Path, *words: str, **decisions: Any) -> Ended:
    """Run a job as its node does, without Slurm."""
    folder.mkdir(parents=True, exist_ok=True)
    words = (*WORDS, *words)
    order = Order(0, words, (folder / "run").absolute(), False, compose(words))
    order.directory.mkdir(exist_ok=True)
    save_order(folder / JOB_FILE, order, [], [], awaits=False)
    assert stat.S_IMODE((folder / JOB_FILE).stat().st_mode) == 0o600
    ClusterJob(folder, None)()
    end = Exchange(folder).ended(0)
    assert end is not None
    return end


def test_a_job_on_its_node_is_told_to_stop_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start is told to stop from its beginning, which is no end of it: the second one does it whole."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    folder = tmp_path / "job"
    folder.mkdir()
    Exchange(folder).write("stop")
    assert run(folder).exit_code == 143
    Exchange(folder).clear()
    end = run(folder)
    assert (end.exit_code, end.reason) == (0, "")
    assert end.summary is not None and end.summary["train"]["epochs"] == 3
    assert (Exchange(folder).new_progress(0) or end).epoch == 3.0  # type: ignore[union-attr]


def test_a_decision_answers_one_report(tmp_path: Path) -> None:
    job, sweep = Exchange(tmp_path), Exchange(tmp_path)
    first = job.report(1.0, 6, {"valid/loss": 1.0}, awaits=True)
    assert job.decision(first) is None
    progress = sweep.new_progress(4)
    assert progress is not None and (progress.number, progress.step, progress.awaits) == (4, 6, True)
    assert sweep.new_progress(4) is None, "it is told once"
    sweep.answer(Decision.GO_ON)
    assert job.decision(first) is Decision.GO_ON and not job.is_told_to_end
    second = job.report(2.0, 12, {"valid/loss": 0.5}, awaits=True)
    assert job.decision(second) is None, "the answer was to the first"
    follower = Exchange(tmp_path)
    follower.skip_answered()
    assert follower.new_progress(4) is not None, "a resumed sweep answers what the killed one did not"
    follower.answer(Decision.STOP)
    assert job.decision(second) is Decision.STOP and job.is_told_to_end
