"""A single run in Slurm, without one: what is submitted, how it is followed and left, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from nnrun.sweeps.exchange import Exchange
from nnrun.sweeps.slurm_array import SlurmSettings
from support.command_line import environment

SLURM = ("launch=slurm", "trainer.device=cpu", "model=mlp", "hydra.run.dir=r")


@pytest.fixture
def slurm(slurm: Path) -> Path:
    """Commands whose queue has a job that runs."""
    (slurm / "squeue.says").write_text("7|RUNNING|None\n")
    return slurm


def ends(code: int, reason: str = "", *, cancelled: bool = False) -> Callable[[Path], None]:
    """A job that trains for two epochs and ends so."""

    def play(run: Path) -> None:
        job = Exchange(run / "slurm" / "0")
        (run / "run.log").write_text("epoch   1  train/loss 1.0\nepoch   2  tr")
        job.write("outcome", exit_code=code, reason=reason, summary=None)
        if cancelled:
            (run.parent / "squeue.says").write_text("7|CANCELLED|None\n")
            return
        summary = {"state": "finished", "metrics": {"test/accuracy": 0.9}} if code == 0 else None
        job.write("ended", exit_code=code, reason=reason, summary=summary, may_succeed=False, seconds=1.0)

    return play


def submitted(monkeypatch: pytest.MonkeyPatch, play: Callable[[Path], Any]) -> list[SlurmSettings]:
    """Let jobs be taken, and be played; return what they asked for."""
    asked: list[SlurmSettings] = []

    def take(settings: SlurmSettings, folder: Path, name: str, jobs: Sequence[object]) -> list[str]:
        asked.append(settings)
        play(folder.parent)
        return ["7"]

    monkeypatch.setattr("nnrun.sweeps.slurm.submit_array", take)
    return asked


def test_a_run_is_submitted_with_a_task_for_each_process_and_followed(slurm: Path, monkeypatch, capsys) -> None:
    asked = submitted(monkeypatch, ends(0))
    assert main([*SLURM, "launch.nodes=2", "trainer.devices=4"]) == 0
    assert [(it.nodes, it.tasks_per_node) for it in asked] == [(2, 2)]
    said = capsys.readouterr().out.splitlines()
    assert said == ["submitted as Slurm's job 7; run directory r", "epoch   1  train/loss 1.0"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (1, 1)),
        (("launch.nodes=2",), (2, 1)),
        (("launch.nodes=2", "launch.gpus_per_node=8", "trainer.device=cuda"), (2, 8)),
        (("launch.gpus_per_node=4", "trainer.device=cuda", "trainer.devices=2"), (1, 2)),
        (("launch.gpus_per_node=0", "trainer.devices=3"), (1, 3)),
        (("launch.nodes=2", "++trainer.devices=auto"), (2, 1)),
    ],
)
def test_how_many_processes_train(slurm: Path, monkeypatch, words: Sequence[str], expected: tuple[int, int]) -> None:
    """Those of trainer.devices; else one for each GPU, or for each node."""
    asked = submitted(monkeypatch, ends(0))
    assert main([*SLURM, *words]) == 0
    assert [(it.nodes, it.tasks_per_node) for it in asked] == [expected]


def test_a_run_ends_as_its_job_does(slurm: Path, monkeypatch, capsys) -> None:
    """Also one that is cancelled, which has saved before."""
    submitted(monkeypatch, ends(6, "the loss is NaN at step 3"))
    assert main(SLURM) == 6
    assert capsys.readouterr().err == "nnrun: the loss is NaN at step 3\n"
    submitted(monkeypatch, ends(143, "stopped at step 9; checkpoint saved", cancelled=True))
    assert main([*SLURM[:-1], "hydra.run.dir=other"]) == 143
    assert capsys.readouterr().err == "nnrun: stopped at step 9; checkpoint saved\n"


def test_a_signal_leaves_the_run_which_is_followed_again(slurm: Path, monkeypatch, capsys) -> None:
    """It goes on: nothing is cancelled. A second start of it is refused, and words that could not reach it."""
    submitted(monkeypatch, lambda run: None)
    with monkeypatch.context() as patch:
        patch.setattr("nnrun.sweeps.slurm_run.FollowedLog.show", lambda log: signal.raise_signal(signal.SIGINT))
        assert main(SLURM) == 130
    assert capsys.readouterr().err == (
        "nnrun: job 7 goes on; follow it with: nnrun launch=slurm resume=r\nnnrun: end it with: "
        "scancel 7 (it saves a checkpoint first)\n"
    )
    assert not (slurm / "scancel.calls").exists()
    assert main([*SLURM, "trainer.epochs=3"]) == 2
    assert "hydra.run.dir=r is in use by Slurm's job 7; follow it with: nnrun launch=slurm resume=r" in (
        capsys.readouterr().err
    )
    assert main(["launch=slurm", "resume=r", "trainer.epochs=3"]) == 2
    assert "r is the run of Slurm's job 7, on which trainer.epochs would have no effect" in capsys.readouterr().err
    assert main(["launch=slurm", "launch.nodes=4", "resume=r"]) == 2
    assert "r is the run of Slurm's job 7, on which launch.nodes would have no effect" in capsys.readouterr().err
    asked = submitted(monkeypatch, lambda run: None)
    ends(0)(slurm / "r")
    assert main(["launch=slurm", "resume=r"]) == 0
    assert not asked, "it is not submitted again"
    assert capsys.readouterr().out.splitlines() == ["following Slurm's job 7, r", "epoch   1  train/loss 1.0"]


REFUSED = {
    "odd": (("launch.nodes=2", "trainer.devices=3"), "cannot be divided by launch.nodes=2"),
    "GPUs": (("launch.gpus_per_node=2", "trainer.device=cuda", "trainer.devices=4"), "use launch.gpus_per_node=4"),
    "a sweep's": (("launch.array_parallelism=3",), "launch.array_parallelism has no effect without -m"),
    "no training": (("task=inspect", "launch.nodes=2"), "task=inspect runs on one node"),
    "here": (("task=doctor",), "task=doctor runs here; leave launch out"),
    "a budget": (("trainer.devices=2", "trainer.max_minutes=1"), "use trainer.max_steps"),
    "a typo": (("optimizer.l=1",), "optimizer.l"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_anything_is_submitted(slurm: Path, monkeypatch, capsys, name: str) -> None:
    words, says = REFUSED[name]
    asked = submitted(monkeypatch, ends(0))
    here = SLURM[:1] if "task" in words[0] else SLURM
    assert main([*here, *words]) == 2
    assert says in capsys.readouterr().err
    assert not asked and not (slurm / "r").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("launch.nodes=2",), "launch.nodes has no effect here; choose launch=slurm first"),
        (("launch=slurm", "launch.partitoin=gpu"), "did you mean 'launch.partition'?"),
        (("launch=slurm", "launch.minutes=0"), "launch.minutes is 0"),
        (("launch.place=slurm",), "launch.place is 'local' here; use launch=slurm"),
        (("launch=slurm", "launch.place=local"), "launch.place is 'slurm' here; use launch=local"),
    ],
)
def test_wrong_words_about_the_place_are_refused(
    tmp_path, monkeypatch, capsys, words: Sequence[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "model=mlp"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("launch.minutes=9",)])
def test_a_place_that_yaml_chooses_must_be_typed(slurm: Path, monkeypatch, capsys, words: Sequence[str]) -> None:
    """With launch=slurm, the experiment's settings of it hold; with launch=local, the run starts here."""
    path = slurm / "conf" / "experiment" / "far.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\ndefaults:\n  - override /launch: slurm\nlaunch:\n  nodes: 2\n")
    asked = submitted(monkeypatch, ends(0))
    assert main([*SLURM[1:], "experiment=far", *words]) == 2
    told = "launch=slurm is set by experiment=far: add launch=slurm to the command, or launch=local"
    assert told in capsys.readouterr().err
    assert not asked and not (slurm / "r").exists()
    assert main([*SLURM, "experiment=far", *words]) == 0
    assert [it.nodes for it in asked] == [2]
    capsys.readouterr()
    assert main([*SLURM[1:-1], "launch=local", "experiment=far", "data=folder", "data.root=nowhere"]) != 0
    told = capsys.readouterr().err
    assert "nowhere" in told and "launch" not in told and len(asked) == 1


def test_a_place_without_single_runs_is_refused(slurm: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("nnrun.sweeps.single.SINGLE", {})
    assert main(SLURM) == 2
    assert "launch=slurm starts jobs of a sweep: add -m" in capsys.readouterr().err


ON_A_LOGIN_NODE = """
import sys
from nnrun.base.errors import ConfigError
from nnrun.cli import main
import nnrun.sweeps.slurm, nnrun.sweeps.slurm_queue

def refuse(*_):
    raise ConfigError("launch=slurm: sbatch refused the jobs: no")

nnrun.sweeps.slurm.submit_array = refuse
nnrun.sweeps.slurm_queue.check_package = lambda what, module: None
print(main(sys.argv[1:]), sorted(sys.modules.keys() & {"torch", "numpy", "submitit"}))
"""


def test_a_login_node_needs_no_torch_and_keeps_nothing_of_what_is_refused(slurm: Path) -> None:
    words = [sys.executable, "-c", ON_A_LOGIN_NODE, *SLURM, "trainer.devices=2"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("2 []\n", "nnrun: launch=slurm: sbatch refused the jobs: no\n")
    assert not (slurm / "r").exists()
