"""Jobs in processes of their own: as good as alone, to the bit; one that dies is a failed job, and the others go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.manifest import read_manifest
from nnrun.cli import compose, main
from nnrun.sweeps.seams import Decision, Ended, Order, Progress
from nnrun.sweeps.workers import running, starter
from nnrun.sweeps.workers.checking import check_apart
from nnrun.sweeps.workers.launcher import Wishes, Workers
from nnrun.sweeps.workers.slots import Slots
from support.command_line import write_files

WORDS = ("model=mlp", "data.limit=300", "trainer.epochs=2", "export=none")
ODD = {
    "conf/model/odd.yaml": """\
# A network that ends its process.
_target_: odd.Odd
mood: well
in_shape: ${data.in_shape}
classes: ${data.num_classes}
""",
    "odd.py": """\
import ctypes, os, pathlib, signal, time
from math import prod
from torch import nn

class Odd(nn.Sequential):
    def __init__(self, mood, in_shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(prod(in_shape), classes))
        self.mood = mood

    def forward(self, inputs):
        if self.training and self.mood == "segfaults":
            ctypes.string_at(0)
        if self.training and self.mood == "leaves":
            os._exit(3)
        if self.training and self.mood == "killed once" and not pathlib.Path("killed").exists():
            pathlib.Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and self.mood == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and self.mood == "exits":
            raise SystemExit(0)
        if self.training and self.mood == "hangs":
            time.sleep(600)
        return super().forward(inputs)
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write_files(tmp_path, ODD)
    with contextlib.chdir(tmp_path):
        yield tmp_path


def ordered(number: int, *words: str, own: Sequence[Path] = ()) -> Order:
    directory = Path(f"jobs/{number}")
    directory.mkdir(parents=True, exist_ok=True)
    return Order(number, words, directory, composed=compose(words, own))


def run(
    workers: Workers, orders: Sequence[Order], answer: Callable[[Progress], Decision] = lambda _: Decision.GO_ON
) -> tuple[dict[int, Ended], list[Progress]]:
    """Run all orders; return how each ended, and what was heard of them."""
    waiting, ended, heard = list(orders), dict[int, Ended](), list[Progress]()
    while len(ended) < len(orders):
        while waiting and len(orders) - len(waiting) - len(ended) < workers.num_slots:
            workers.start(waiting.pop(0))
        for event in workers.wait(60):
            if isinstance(event, Ended):
                ended[event.number] = event
            else:
                heard.append(event)
                if event.awaits:
                    workers.answer(event.number, answer(event))
    return ended, heard


def bits(run: Path) -> dict[str, bytes]:
    """The newest weights of a run, and what continues the training."""
    manifest = read_manifest(run / "checkpoints")
    assert manifest.last is not None
    saved = torch.load(run / "checkpoints" / manifest.last, weights_only=True)
    return {name: value.numpy().tobytes() for name, value in saved["model"].items()}


def test_jobs_that_die_fail_each_with_its_reason_and_the_others_have_the_bits_of_a_run_alone(folder: Path) -> None:
    own = [folder / "conf"]
    moods = ["segfaults", "leaves", "killed", "killed once", "exits", "well"]
    odd = [ordered(n, *WORDS[1:], "model=odd", f"model.mood={mood}", own=own) for n, mood in enumerate(moods)]
    fine = [ordered(6 + n, *WORDS, f"optimizer.lr={rate}") for n, rate in enumerate(("1e-3", "1e-2"))]
    said: list[str] = []
    workers = Workers(lambda: Slots(2, 1), Wishes(own=own), said.append)
    with contextlib.closing(workers):
        ended, heard = run(workers, [*odd, *fine])
    assert {mood: ended[n].exit_code for n, mood in enumerate(moods)} == dict(
        zip(moods, (70, 70, 5, 0, 2, 0), strict=True)
    )
    assert "SIGSEGV: a segmentation fault" in ended[0].reason
    assert "ctypes/__init__.py" in Path("jobs/0/run.log").read_text(), "where it was at that moment"
    assert ended[1].reason == "its process ended with exit code 3 in the midst of the run"
    assert ended[2].is_environments_fault and "perhaps because memory ran out" in ended[2].reason
    assert "SystemExit" in ended[4].reason
    assert json.loads(Path("jobs/0/status.json").read_text())["state"] == "failed"
    assert sorted(line.partition(":")[0] for line in said) == ["job 2", "job 3"], "once each, and for code 5 alone"
    assert [(it.epoch, it.step > 0, it.awaits) for it in heard if it.number == 6] == [
        (1, True, False),
        (2, True, False),
    ]
    for order in fine:
        assert ended[order.number].summary is not None
        assert "epoch   2" in (order.directory / "run.log").read_text()
        assert main([*order.words, "trainer.threads=1", f"hydra.run.dir=alone{order.number}"]) == 0
        assert bits(order.directory) == bits(Path(f"alone{order.number}"))
    # The negative control: another learning rate gives other bits.
    assert bits(fine[0].directory) != bits(fine[1].directory)


def test_what_only_torch_can_tell_is_checked_in_a_process_apart(folder: Path) -> None:
    """A class that does not import, a parameter that it does not take, a device that is not here, code that exits."""
    broken = {"lost": "nowhere.Lost", "less": "odd.Odd", "quits": "quits.Quits"}
    models = {
        f"conf/model/{name}.yaml": f"# A network.\n_target_: {target}\nsize: 1\n" for name, target in broken.items()
    }
    write_files(folder, {**models, "quits.py": "import os\nos._exit(1)\n"})
    own, said = [folder / "conf"], list[str]()
    words = [[f"model={name}"] for name in ("mlp", "lost", "less")] + [["model=mlp", "trainer.device=cuda:3"]]
    orders = [ordered(number, *more, own=own) for number, more in enumerate(words)]
    with contextlib.closing(Workers(lambda: Slots(2, 1), Wishes(own=own), said.append)) as workers:
        wrong = {ended.number: ended for ended in workers.check(orders)}
        assert {number: ended.exit_code for number, ended in wrong.items()} == {1: 2, 2: 2, 3: 5}
        assert "nowhere" in wrong[1].reason and "size" in wrong[2].reason and "no CUDA device" in wrong[3].reason
        assert workers._server is not None
        elsewhere = check_apart(workers._server, orders, own, said.append, is_here=False)
        assert [ended.number for ended in elsewhere] == [1, 2], "another machine may have the device"
        assert not said and not list(Path("jobs").glob("*/*")), "nothing has started"
        quits = ordered(4, "model=quits", own=own)
        assert [ended.number for ended in workers.check([orders[1], quits, orders[2]])] == [1]
    assert said == ["2 jobs could not be checked in advance; each is checked as it starts"]


def test_a_job_that_the_search_pauses_is_taken_up_again_to_the_same_bits_and_one_that_hangs_is_ended(
    folder: Path, monkeypatch
) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.3)
    own = [folder / "conf"]
    paused, whole = ordered(0, *WORDS), ordered(1, *WORDS)
    with contextlib.closing(Workers(lambda: Slots(2, 1), Wishes(own=own, asks=True))) as workers:

        def first_pauses(progress: Progress) -> Decision:
            return Decision.PAUSE if progress.number == 0 else Decision.GO_ON

        ended, heard = run(workers, [paused, whole], first_pauses)
        assert (ended[0].exit_code, ended[1].exit_code) == (143, 0)
        assert [it.epoch for it in heard if it.number == 0] == [1], "not a step more"
        assert [it.awaits for it in heard if it.number == 1] == [True, False], "nothing follows the last"
        again = Order(2, paused.words, paused.directory, resumes=True, composed=paused.composed)
        ended, heard = run(workers, [again])
        assert (ended[2].exit_code, [it.epoch for it in heard]) == (0, [1, 2]), "the first one told again"
        assert bits(paused.directory) == bits(whole.directory)
        workers._wishes = Wishes(own=own, minutes=0.02)
        ended, _ = run(workers, [ordered(3, *WORDS[1:], "model=odd", "model.mood=hangs", own=own)])
        assert (ended[3].exit_code, ended[3].is_environments_fault) == (5, False)
        assert ended[3].reason == "stopped after sweep.job_minutes=0.02, before it was done"


def test_jobs_are_spawned_where_a_fork_is_not_safe(folder: Path, monkeypatch) -> None:
    """As on macOS; a job that dies takes nothing else with it, and one that is paused resumes to the same bits.

    Negative control: a spawned process has a command of its own, one that is forked has that of the process it is of.
    """
    monkeypatch.setattr(starter, "HOW", "spawns")
    # The newest seen of each process: one that is only just started still has its parent's.
    own, commands = [folder / "conf"], dict[Path, str]()
    odd = ordered(0, *WORDS[1:], "model=odd", "model.mood=leaves", own=own)
    paused, fine = ordered(1, *WORDS), ordered(2, *WORDS)

    def answer(progress: Progress) -> Decision:
        commands.update((path, path.read_text().replace("\0", " ")) for path in children_of(workers))
        return Decision.PAUSE if progress.number == paused.number else Decision.GO_ON

    with contextlib.closing(Workers(lambda: Slots(2, 1), Wishes(own=own, asks=True))) as workers:
        ended, _ = run(workers, [odd, paused, fine], answer)
        assert [ended[number].exit_code for number in range(3)] == [70, 143, 0]
        assert sum("-m nnrun.sweeps.workers.server job " in command for command in commands.values()) >= 2
        again = Order(3, paused.words, paused.directory, resumes=True, composed=paused.composed)
        ended, _ = run(workers, [again])
    assert ended[3].exit_code == 0
    assert bits(paused.directory) == bits(fine.directory)


def children_of(workers: Workers) -> list[Path]:
    """The command lines of the jobs' processes (Linux)."""
    assert workers._server is not None
    server = workers._server._process.pid
    pids = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline") for pid in pids]


SWEEP = """\
import contextlib, sys, time
from pathlib import Path
from nnrun.base.signals import stop_request
from nnrun.cli import compose
from nnrun.sweeps.seams import Ended, Order
from nnrun.sweeps.workers.checking import check_apart
from nnrun.sweeps.workers.launcher import Workers
from nnrun.sweeps.workers.slots import Slots

words, left = sys.argv[1:], 2
with stop_request() as stop, stop.deferred(), contextlib.closing(Workers(lambda: Slots(2, 1))) as workers:
    for number in range(2):
        Path(f"jobs/{number}").mkdir(parents=True)
        workers.start(Order(number, words, Path(f"jobs/{number}"), composed=compose(words)))
    while left:
        if stop.heard:
            workers.stop()
        for event in workers.wait(0.1):
            is_end = isinstance(event, Ended)
            left -= is_end
            print(f"ended {event.exit_code}" if is_end else "validated", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_killed_or_interrupted_leaves_jobs_that_have_saved_once(
    folder: Path, number: signal.Signals
) -> None:
    """The terminal sends Ctrl-C to all: to the sweep, the process that forks, and the jobs."""
    words = ["model=mlp", "data.limit=300", "trainer.epochs=100000", "export=none"]
    sweep = subprocess.Popen(
        [sys.executable, "-c", SWEEP, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert sweep.stdout is not None
    assert sweep.stdout.readline() == "validated\n"
    while not all(Path(f"jobs/{job}/checkpoints/manifest.json").exists() for job in range(2)):
        time.sleep(0.01)
    (os.kill if number == signal.SIGKILL else os.killpg)(sweep.pid, number)
    said = sweep.stdout.read()
    assert said.count("ended 143") == (0 if number == signal.SIGKILL else 2)
    statuses = [Path(f"jobs/{job}/status.json") for job in range(2)]
    deadline = time.monotonic() + 30
    while any(json.loads(path.read_text())["state"] == "running" for path in statuses):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sweep.wait()
    for path in statuses:
        status = json.loads(path.read_text())
        assert (status["state"], status["exit_code"]) == ("interrupted", 143)
        assert "checkpoint saved; resume with" in status["reason"]
