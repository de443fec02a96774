"""A training whose ranks are tasks of a real Slurm of one node: requeued, left and followed; the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from support.command_line import NNRUN, environment
from support.slurm import OneNode, one_node

pytestmark = pytest.mark.cluster
TRAINING = (
    *("data=digits", "trainer.device=cpu", "trainer.devices=2", "trainer.threads=1", "model=cnn", "model.dropout=0.3"),
    *("augment=digits", "trainer.epochs=12", "trainer.checkpoint_every_steps=20", "early_stopping=none"),
    *("export=none", "report=none"),
)
SLURM = ("launch=slurm", "launch.nodes=1", "launch.gpus_per_node=0", "launch.mem_gb=2")
# Started again from its beginning, it resumes.
SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks=2 --mem=2G --requeue --open-mode=append --output=script.log
if [ -e {run}/checkpoints/manifest.json ]; then
    exec srun --ntasks=2 {nnrun} resume={run}
fi
exec srun --ntasks=2 {nnrun} {words} hydra.run.dir={run}
"""
_SECONDS = 180


@pytest.fixture(scope="module")
def node() -> Iterator[OneNode]:
    with one_node() as node:
        yield node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(node: OneNode, folder: Path) -> Path:
    """A run of two tasks that nobody disturbs."""
    with command(folder, *SLURM, *TRAINING, "hydra.run.dir=whole") as process:
        out, err = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0, err
    assert "2 processes train together on the CPU, over gloo; 1 thread each" in out
    return folder / "whole"


@contextmanager
def command(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*NNRUN, *words], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(is_so: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def rows_of(run: Path) -> str:
    path = run / "metrics.jsonl"
    return path.read_text() if path.exists() else ""


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def weights(run: Path) -> dict[str, torch.Tensor]:
    last = read(run / "checkpoints" / "manifest.json")["last"]
    return dict(torch.load(run / "checkpoints" / last, weights_only=True)["model"])


def assert_same_bits(one: Path, other: Path) -> None:
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())
    assert rows_of(one) == rows_of(other)


def requeue(node: OneNode, job: str, run: Path) -> None:
    """Put a job back into the queue in the midst of its training, and let it start again at once."""
    until(lambda: rows_of(run).count('"valid"') >= 4, "it does not train")
    node.asked("scontrol", "requeue", job)
    until(lambda: "PENDING" in node.asked("squeue", "-h", "-j", job, "-o", "%T"), "it is not requeued")
    node.hurry(job)


def job_of(run: Path) -> str:
    return str(read(run / "slurm" / "0" / "submitted.json")["slurm"])


def test_a_requeued_job_resumes_itself_to_the_same_bits(node: OneNode, folder: Path, whole: Path) -> None:
    """Negative control: the rows of the run before its last epochs are not those of the whole one."""
    run = folder / "cut"
    with command(folder, *SLURM, *TRAINING, "hydra.run.dir=cut") as process:
        until((run / "slurm" / "0" / "submitted.json").exists, "it is not submitted")
        job = job_of(run)
        requeue(node, job, run)
        assert rows_of(run) != rows_of(whole)
        out, err = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0, err
    assert_same_bits(run, whole)
    status, found = read(run / "status.json"), read(run / "environment.json")
    assert (status["state"], len(status["resumed"])) == ("finished", 1)
    assert found["slurm"] == {"job": job, "nodes": os.uname().nodename.partition(".")[0], "tasks": "2"}
    assert found["processes"] == 2
    assert "resuming from step" in out
    assert not list(run.rglob("job.pickle")), "the file with the secrets is removed"


def test_tasks_that_a_script_starts_with_srun_resume_to_the_same_bits(node: OneNode, folder: Path, whole: Path) -> None:
    run, script = folder / "script", folder / "script.sh"
    script.write_text(SCRIPT.format(run="script", nnrun=" ".join(NNRUN), words=" ".join(TRAINING)))
    done = subprocess.run(
        ["sbatch", "--parsable", str(script)], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    job = done.stdout.strip()
    requeue(node, job, run)
    until(lambda: not node.asked("squeue", "-h", "-j", job).strip(), "it does not end")
    assert_same_bits(run, whole)
    assert len(read(run / "status.json")["resumed"]) == 1
    assert (folder / "script.log").read_text().count("2 processes train together") == 2


def test_a_run_that_is_left_goes_on_and_is_ended_by_scancel_saved(node: OneNode, folder: Path) -> None:
    run = folder / "left"
    with command(folder, *SLURM, *TRAINING, "trainer.epochs=2000", "hydra.run.dir=left") as process:
        until(lambda: '"valid"' in rows_of(run), "it does not train")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=_SECONDS)
    job = job_of(run)
    assert process.returncode == 130
    assert err.startswith(f"nnrun: job {job} goes on; follow it with: nnrun launch=slurm resume=left\n")
    with command(folder, "launch=slurm", "resume=left") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"following Slurm's job {job}, left\n"
        seen = rows_of(run)
        until(lambda: rows_of(run) != seen, "it does not go on")
        node.asked("scancel", job)
        _, err = process.communicate(timeout=_SECONDS)
    assert process.returncode == 143, err
    assert "checkpoint saved; resume with: nnrun resume=" in err
    assert read(run / "status.json")["state"] == "interrupted"


def test_what_sbatch_refuses_is_said_and_leaves_nothing(node: OneNode, folder: Path) -> None:
    with command(folder, *SLURM, *TRAINING, "launch.partition=nosuch", "hydra.run.dir=refused") as process:
        _, err = process.communicate(timeout=_SECONDS)
    assert process.returncode == 2
    assert "sbatch refused the jobs: invalid partition specified: nosuch" in err
    assert not (folder / "refused").exists()
