"""A training in several processes: the result of one, one directory, one end; whichever process ends first."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support.command_line import NNRUN, OWN, environment, run_here, write_files

pytestmark = pytest.mark.usefixtures("warm_python")

# More than 50 steps of the CNN, in two epochs.
RUN = (
    *("data=digits", "trainer.device=cpu", "trainer.threads=1", "data.limit=1300", "data.batch_size=40"),
    *("trainer.epochs=2", "trainer.log_every_steps=1", "export=none", "report=none", "early_stopping=none"),
)
# A save waits for the one before: a run with five rows has a checkpoint.
LONG = (*RUN, "trainer.epochs=200", "trainer.checkpoint_every_steps=2")
# What is drawn in a step, and an average: all that a resumed run must take up.
DRAWS = ("model=mynet", "augment=digits", "trainer.ema_decay=0.9", "trainer.deterministic=true")
DISTURBED = (*RUN, *DRAWS, "trainer.devices=2", "trainer.checkpoint_every_steps=2")
# With HOLD in the environment, its sixth step in a process waits for that file.
HOLDS = """\
import os, time
from math import prod
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, hidden=16):
        layers = nn.Linear(prod(in_shape), hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, num_classes)
        super().__init__(nn.Flatten(), *layers)
        self.steps = 0

    def forward(self, inputs):
        self.steps += self.training
        while self.steps == 6 and "HOLD" in os.environ and not os.path.exists(os.environ["HOLD"]):
            time.sleep(0.01)
        return super().forward(inputs)
"""


def nnrun(words: tuple[str, ...], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A command that is waited for."""
    return subprocess.run(
        [*NNRUN, *words], cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=120, check=False
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics that a run has written in full."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def status_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "status.json").read_text()))


def last_of(run: Path) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    name = json.loads((run / "checkpoints" / "manifest.json").read_text())["last"]
    return dict(torch.load(run / "checkpoints" / name, weights_only=True))


def assert_same_bits(one: Path, other: Path) -> None:
    """The same weights, the same rows."""
    ours, theirs = last_of(one)["model"], last_of(other)["model"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_of(one) == rows_of(other)


@contextlib.contextmanager
def training(words: tuple[str, ...], folder: Path, num_rows: int = 5, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A run in the directory `run`, once it has written some rows; ended at the latest with the block."""
    write_files(folder, OWN | {"mynet.py": HOLDS})
    process = subprocess.Popen(
        [*NNRUN, *words, "hydra.run.dir=run"],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while len(rows_of(folder / "run")) < num_rows and process.poll() is None:
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The pids of the ranks that a process started, in order."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Each process has all of the network and of the optimizer's state, or a part.
KINDS = {"1": (), "2": (), "4": (), "2_fsdp": ("trainer.strategy=fsdp",), "4_fsdp": ("trainer.strategy=fsdp",)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs by one, two and four processes, whose directories are called so; and what they printed."""
    folder = tmp_path_factory.mktemp("runs")
    for kind, words in KINDS.items():
        # Two export and report.
        more = ("export=onnx", "report=default") if kind == "2" else ()
        done = nnrun((*RUN, f"trainer.devices={kind[0]}", f"hydra.run.dir={kind}", *words, *more), folder)
        assert done.returncode == 0, done.stderr
        (folder / f"{kind}.out").write_text(done.stdout + done.stderr)
    return folder


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "1"])
def test_losses_are_those_of_one_process_for_50_steps(runs: Path, kind: str) -> None:
    one, several = rows_of(runs / "1"), rows_of(runs / kind)
    assert [(row["step"], row["split"]) for row in several] == [(row["step"], row["split"]) for row in one]
    assert sum(row["split"] == "train" for row in one) >= 50
    for ours, theirs in zip(several, one, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["accuracy"] == theirs["accuracy"]


def test_one_directory_is_written_by_one_process_and_says_how_many_there_were(runs: Path) -> None:
    said = (runs / "2.out").read_text()
    assert "2 processes train together on the CPU, over gloo; 1 thread each" in said
    assert said.count("epoch   1") == 1
    assert json.loads((runs / "2" / "environment.json").read_text())["processes"] == 2
    assert "processes" not in json.loads((runs / "1" / "environment.json").read_text())
    summary = json.loads((runs / "2" / "summary.json").read_text())
    assert summary["artifacts"]["onnx"]["ok"] is True
    assert (runs / "2" / "report.html").is_file()
    assert last_of(runs / "2")["config"]["trainer"]["devices"] == 2
    assert not (runs / "outputs" / "multirun").exists()
    latest = runs / "outputs" / "latest"
    assert not latest.is_symlink() or latest.resolve() == (runs / "4_fsdp").resolve()


def test_a_run_in_parts_says_so_and_its_checkpoint_is_that_of_any_other(runs: Path) -> None:
    said = (runs / "2_fsdp.out").read_text()
    assert "each process keeps 1/2 of the parameters (0.5 MB of 0.9 MB)" in said
    assert "Warning" not in said
    assert "each process keeps" not in (runs / "2.out").read_text()
    ours, theirs = last_of(runs / "2_fsdp"), last_of(runs / "2")
    trainers = [each["config"]["trainer"] for each in (ours, theirs)]
    assert [trainer.pop("strategy") for trainer in trainers] == ["fsdp", "ddp"]
    assert trainers[0] == trainers[1]
    assert last_of(runs / "1")["config"]["trainer"]["strategy"] == "auto"
    shapes = [
        {name: value.shape for name, value in each["model"].items()}
        | {
            (number, name): value.shape
            for number, state in each["training"]["optimizer"]["state"].items()
            for name, value in state.items()
        }
        for each in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by two processes that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    write_files(folder, OWN | {"mynet.py": HOLDS})
    done = nnrun((*RUN, *DRAWS, "trainer.devices=2", "hydra.run.dir=run"), folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


# Who hears which signal: the launcher alone, all of its group, or a rank; and the exit code.
STOPS = {
    "the launcher": (signal.SIGTERM, 143, lambda process: process.terminate()),
    "the first rank": (signal.SIGINT, 130, lambda process: os.kill(ranks_of(process)[0], signal.SIGINT)),
    "another rank": (signal.SIGINT, 130, lambda process: os.kill(ranks_of(process)[1], signal.SIGINT)),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_signal_at_any_process_stops_all_at_a_step_that_is_saved(tmp_path: Path, whole: Path, name: str) -> None:
    number, expected, send = STOPS[name]
    # The launcher hands a signal on: the ranks may be some steps further by then.
    length = () if name == "another rank" else ("trainer.epochs=200",)
    with training((*DISTURBED, *length), tmp_path, HOLD="go_on") as process:
        send(process)
        (tmp_path / "go_on").touch()
        code, said = process.wait(120), process.stderr.read() if process.stderr else ""
    assert code == expected == 128 + number, said
    status = status_of(tmp_path / "run")
    assert (status["state"], status["exit_code"]) == ("interrupted", expected)
    assert "checkpoint saved; resume with: nnrun resume=run" in said
    assert said.count("nnrun: ") == 1
    if name == "another rank":
        resumed = nnrun(("resume=run", "trust=[mynet]"), tmp_path)
        assert resumed.returncode == 0, resumed.stderr
        assert "2 processes train together" in resumed.stdout
        assert_same_bits(tmp_path / "run", whole)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_rank_that_is_killed_ends_the_run_with_code_5_and_names_itself(tmp_path: Path, killed: int) -> None:
    with training((*LONG, "trainer.devices=2"), tmp_path) as process:
        ranks = ranks_of(process)
        os.kill(ranks[killed], signal.SIGKILL)
        code, said = process.wait(120), process.stderr.read() if process.stderr else ""
    assert code == 5, said
    assert f"rank {killed} (pid {ranks[killed]}) was killed (SIGKILL)" in said
    assert said.endswith("then resume with: nnrun resume=run\n")
    assert status_of(tmp_path / "run")["state"] == "failed"
    assert not any(map(is_alive, ranks))


def test_a_rank_that_is_killed_while_others_wait_for_its_part_ends_the_run_with_code_5(tmp_path: Path) -> None:
    """The others notice it in a pass of the network, which is not to blame."""
    with training((*LONG, "trainer.devices=2", "trainer.strategy=fsdp"), tmp_path) as process:
        ranks = ranks_of(process)
        os.kill(ranks[1], signal.SIGKILL)
        code, said = process.wait(120), process.stderr.read() if process.stderr else ""
    assert code == 5, said
    assert f"rank 1 (pid {ranks[1]}) was killed (SIGKILL)" in said
    assert said.count("nnrun: ") == 1
    assert not any(map(is_alive, ranks))


def test_a_run_that_lost_a_rank_is_restarted_from_its_last_checkpoint(tmp_path: Path, whole: Path) -> None:
    with training((*DISTURBED, "trainer.max_restarts=1"), tmp_path, HOLD="go_on") as process:
        os.kill(ranks_of(process)[1], signal.SIGKILL)
        (tmp_path / "go_on").touch()
        code, said = process.wait(120), process.stderr.read() if process.stderr else ""
    assert code == 0, said
    assert status_of(tmp_path / "run")["state"] == "finished"
    assert len(status_of(tmp_path / "run")["resumed"]) == 1
    assert_same_bits(tmp_path / "run", whole)


def test_ranks_end_with_the_process_that_started_them_and_leave_no_meeting_place(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with training((*LONG, "trainer.devices=2"), tmp_path, TMPDIR=str(tmp_path / "temporary")) as process:
        ranks = ranks_of(process)
        process.kill()
        process.wait()
        while any(map(is_alive, ranks)):  # on a busy machine it takes a moment
            time.sleep(0.01)
    assert not list((tmp_path / "temporary").glob("nnrun-ranks*"))


def test_a_full_disk_of_the_first_rank_ends_all_and_is_said_once(tmp_path: Path) -> None:
    with training((*LONG, "trainer.devices=2", "trainer.checkpoint_every_steps=1"), tmp_path) as process:
        ranks = ranks_of(process)
        hard = resource.prlimit(ranks[0], resource.RLIMIT_FSIZE)[1]
        resource.prlimit(ranks[0], resource.RLIMIT_FSIZE, (2_000, hard))
        code, said = process.wait(120), process.stderr.read() if process.stderr else ""
    assert code == 5, said
    assert said.count("the limit on the size of a file is reached") == 1
    assert status_of(tmp_path / "run")["state"] == "failed"
    assert not any(map(is_alive, ranks))


def by_environment(folder: Path, **given: str) -> list[subprocess.Popen[str]]:
    """Two ranks whose environment says so; in what is given, `%` is the number of the rank."""
    return [
        subprocess.Popen(
            [*NNRUN, *RUN, "trainer.devices=2", "hydra.run.dir=run"],
            cwd=folder,
            env=environment(**{name: value.replace("%", str(rank)) for name, value in given.items()}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def by_torchrun(folder: Path) -> list[subprocess.Popen[str]]:
    """One launcher starts both: what it sets."""
    given = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    return by_environment(folder, **given, MASTER_PORT=str(free_port()), RANK="%", LOCAL_RANK="%")


def by_two_torchruns(folder: Path) -> list[subprocess.Popen[str]]:
    """A launcher for each, as on two machines."""
    port = str(free_port())
    where = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}")
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *where, f"--node-rank={rank}"),
                *("-m", "nnrun", *RUN, "hydra.run.dir=run"),
            ],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def by_srun(folder: Path) -> list[subprocess.Popen[str]]:
    """srun starts a task on each of two machines: what it sets."""
    given = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    job = next(number for number in range(os.getpid(), os.getpid() + 100) if is_free(20_000 + number * 31 % 10_000))
    given |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0"}
    return by_environment(folder, **given, SLURM_PROCID="%", SLURM_NODEID="%", SLURM_LOCALID="0")


def is_free(port: int) -> bool:
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.bind(("", port))
        return True
    return False


@pytest.mark.parametrize("start", [by_torchrun, by_two_torchruns, by_srun])
def test_processes_that_another_program_started_train_together_and_start_no_others(
    tmp_path: Path, runs: Path, start: Callable[[Path], list[subprocess.Popen[str]]]
) -> None:
    started = start(tmp_path)
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    first, other = said if "train together" in said[0][0] else reversed(said)
    assert "2 processes train together" in first[0]
    assert not other[0]
    assert rows_of(tmp_path / "run") == rows_of(runs / "2")


TRAINS_ALONE = """
import sys
from nnrun.cli import main
code = main(sys.argv[1:])
print(code, *sorted(name for name in sys.modules if "process_group" in name or "ranks.launcher" in name))
"""


def test_one_process_imports_nothing_that_only_several_need(tmp_path: Path) -> None:
    words = [sys.executable, "-c", TRAINS_ALONE, *RUN, "trainer.max_steps=2", "--quiet"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0", done.stderr


# The network of one rank fails at a step, or its output is NaN.
FAILS = """\
from math import prod
import torch
from torch import nn
from nnrun.base.ranks import this_rank

class MyNet(nn.Module):
    def __init__(self, in_shape, num_classes, hidden=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(prod(in_shape), num_classes))
        self.hidden, self.steps = hidden, 0

    def forward(self, inputs):
        self.steps += self.training
        is_bad = this_rank().index == 1 and self.steps == 3
        if is_bad and self.hidden == 1:
            raise ValueError("not in the third step")
        return self.layers(inputs) * (torch.nan if is_bad else 1.0)
"""


@pytest.mark.parametrize(("hidden", "code", "says"), [(1, 2, "not in the third step"), (2, 6, "NaN")])
def test_an_error_of_one_rank_ends_all_and_is_said_once(tmp_path: Path, hidden: int, code: int, says: str) -> None:
    write_files(tmp_path, OWN | {"mynet.py": FAILS})
    words = (*RUN, "model=mynet", f"model.hidden={hidden}", "trainer.devices=2", "hydra.run.dir=run")
    done = nnrun(words, tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    status = status_of(tmp_path / "run")
    assert (status["state"], status["exit_code"]) == ("diverged" if code == 6 else "failed", code)
    assert sum(line.startswith("nnrun: ") and says in line for line in done.stderr.splitlines()) == 1


# One rank is stopped at a step, as one whose machine hangs; the other then waits for a second, not for ten minutes.
HANGS = """\
import os, signal
from datetime import timedelta
from math import prod
from pathlib import Path
from torch import distributed, nn
from nnrun.base.ranks import this_rank

class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, hidden=16):
        super().__init__(nn.Flatten(), nn.Linear(prod(in_shape), num_classes))
        self.steps = 0

    def forward(self, inputs):
        self.steps += self.training
        if self.steps == 8:
            Path(f"{this_rank().index}.pid").write_text(str(os.getpid()))
            if this_rank().index == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=1), distributed.group.WORLD)
        return super().forward(inputs)
"""


def test_a_rank_that_does_not_answer_in_time_ends_the_run_and_is_ended(tmp_path: Path) -> None:
    write_files(tmp_path, OWN | {"mynet.py": HANGS})
    words = (*RUN, "model=mynet", "trainer.devices=2", "trainer.checkpoint_every_steps=2", "hydra.run.dir=run")
    done = nnrun(words, tmp_path)
    assert done.returncode == 5, done.stderr
    assert "rank 0 got no answer from another process, which hangs or was stopped: find out why, then resume" in (
        done.stderr
    )
    assert done.stderr.count("nnrun: ") == 1
    assert status_of(tmp_path / "run")["state"] == "failed"
    pids = [int((tmp_path / f"{rank}.pid").read_text()) for rank in (0, 1)]
    assert not any(map(is_alive, pids))


REFUSED = {
    "a batch smaller than the ranks": (("data.batch_size=3", "trainer.devices=4"), "use data.batch_size=4 or more"),
    "a budget": (("trainer.max_minutes=1", "trainer.devices=2"), "use trainer.max_steps"),
    "one process": (("trainer.max_restarts=1",), "trainer.max_restarts has no effect: one process trains"),
    "compiled": (("trainer.sync_batchnorm=true", "trainer.compile=true", "trainer.devices=2"), "exclude each other"),
    "parts of one": (("trainer.strategy=fsdp",), "trainer.strategy has no effect: one process trains"),
    "parts, compiled": (
        ("trainer.strategy=fsdp", "trainer.compile=auto", "trainer.devices=2"),
        "trainer.compile=false",
    ),
    "parts, a matrix's optimizer": (("trainer.strategy=fsdp", "optimizer=muon", "trainer.devices=2"), "MuonWithAdamW"),
    "a sweep": (("-m", "seed=0,1", "trainer.devices=2"), "each job of a sweep trains in one process"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    words, says = REFUSED[name]
    done = run_here((*RUN[:3], "export=none", "report=none", *words), tmp_path)
    assert done.code == 2, done.out + done.err
    assert says in done.err


# What is known once the data is open.
LATE = {
    "data": (("data.limit=5", "data.val_fraction=0.4", "trainer.devices=4"), "or less"),
    "validation": (("data.eval_batch_size=1", "trainer.devices=2"), "or a larger data.eval_batch_size"),
    "no BatchNorm": (("trainer.sync_batchnorm=true", "trainer.devices=2"), "the network has no BatchNorm"),
}


@pytest.mark.parametrize("name", LATE)
def test_ranks_without_a_sample_of_a_batch_are_refused_and_what_has_no_effect(tmp_path: Path, name: str) -> None:
    words, says = LATE[name]
    done = nnrun((*RUN[:3], "export=none", "report=none", *words), tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
