"""The process of a command: from its first moment to its last a signal ends it, within seconds, whatever it is at."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command_line import NNRUN, OWN_YAML, environment, write_files
from support.small_runs import assert_whole, status

# A signal comes as a module is first imported, before the run has begun, or a file is opened.
SENDING = """
import os, sys

def send_at(name):
    if name == WHERE:
        os.kill(os.getpid(), NUMBER)

class Importing:
    def find_spec(self, name, *_):
        send_at(name)

sys.meta_path.insert(0, Importing())
sys.addaudithook(lambda event, details: event == "open" and send_at(os.path.basename(str(details[0]))))
sys.argv[1:] = ["model=mlp", "trainer.epochs=1", "export=none"]
from nnrun.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("where", "name", "code"),
    [
        ("nnrun.cli", "SIGINT", 130),
        ("hydra", "SIGTERM", 143),
        ("omegaconf", "SIGUSR1", 143),
        ("nnrun.tasks.train.run", "SIGHUP", 143),
        ("digits.csv.gz", "SIGINT", 130),
    ],
)
def test_a_signal_in_the_first_moments_is_no_traceback(where: str, name: str, code: int, tmp_path: Path) -> None:
    """Nothing has begun, until data is read: then there is a run, which says that it was interrupted."""
    script = SENDING.replace("WHERE", repr(where)).replace("NUMBER", str(int(signal.Signals[name])))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == code, done.stderr
    begun = where == "digits.csv.gz"
    said = "stopped; there was nothing to save: run the command again" if begun else "interrupted"
    assert done.stderr == f"nnrun: {said}\n"
    assert [status(run.parent)["state"] for run in tmp_path.rglob("status.json")] == ["interrupted"] * begun


# A network that calls a library which does not come back, and which no signal's handler interrupts.
STUCK = """\
import ctypes, os
from math import prod
from pathlib import Path
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, in_shape, num_classes, hidden=16):
        super().__init__(nn.Flatten(), nn.Linear(prod(in_shape), num_classes))

    def forward(self, inputs):
        Path("stuck").touch()
        mutex = ctypes.create_string_buffer(64)
        while True:
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended, how long after the signal, and where it ran."""

    code: int
    err: str
    seconds: float
    run: Path


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A training that gets Ctrl-C twice, and an inspection that gets SIGTERM, at once, each stuck in its network."""
    wanted = {"training": (signal.SIGINT, signal.SIGINT), "inspection": (signal.SIGTERM,)}
    processes, folders = {}, {}
    for name in wanted:
        folders[name] = folder = tmp_path_factory.mktemp("stuck")
        write_files(folder, {"conf/model/mynet.yaml": OWN_YAML, "mynet.py": STUCK})
        words = ["model=mynet", "hydra.run.dir=run", "export=none", "early_stopping=none"]
        words += ["task=inspect"] if name == "inspection" else []
        processes[name] = subprocess.Popen(
            [*NNRUN, *words],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    results = {}
    sent = {}
    for name, numbers in wanted.items():
        while not (folders[name] / "stuck").exists() and processes[name].poll() is None:
            time.sleep(0.01)
        sent[name] = time.monotonic()
        for number in numbers:
            processes[name].send_signal(number)
            time.sleep(0.2)
    for name, process in processes.items():
        err = process.communicate(timeout=120)[1]
        results[name] = Ended(process.returncode, err, time.monotonic() - sent[name], folders[name] / "run")
    return results


@pytest.mark.parametrize(("name", "code"), [("training", 130), ("inspection", 143)])
def test_a_signal_ends_a_run_inside_a_call_that_never_returns(name: str, code: int, ended: dict[str, Ended]) -> None:
    it = ended[name]
    assert it.code == code
    assert it.seconds < 60
    assert it.err == "nnrun: stopped in a call that did not return; saved files are intact\n"
    assert (status(it.run)["state"], status(it.run)["exit_code"]) == ("interrupted", code)
    assert not list(it.run.rglob(".*.tmp"))
    if name == "training":
        assert_whole(it.run)


# A thread that some library has started, for which Python waits at its end, and what else Python does then.
LEAVING = """
import atexit, os, signal, sys, threading, time
import nnrun.cli
def main(words):
    atexit.register(print, "at last")
    threading.Thread(target=time.sleep, args=(SECONDS,)).start()
    if SECONDS > 1:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    return CODE
nnrun.cli.main = main
from nnrun.__main__ import main
main()
"""


@pytest.mark.parametrize(("code", "seconds"), [(0, 600), (3, 600), (3, 0.1)])
def test_a_signal_at_the_exit_keeps_the_exit_code(code: int, seconds: float, tmp_path: Path) -> None:
    """Negative control: where no thread is waited for long, all is done as Python does it."""
    script = LEAVING.replace("CODE", str(code)).replace("SECONDS", str(seconds))
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == ("at last\n" if seconds < 0.5 else "")
    assert time.monotonic() - begun < 60


# What Python would print, and forget: the signal comes while an object is removed.
REMOVING = """
import os, signal, sys, time
from nnrun.base.errors import InterruptedRun
from nnrun.base.guard import guard
from nnrun.base.signals import stop_request

class Removed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

guard()
with stop_request():
    removed = Removed()
    try:
        del removed
        time.sleep(60)
    except InterruptedRun as interruption:
        sys.exit(interruption.exit_code)
"""


def test_a_signal_that_comes_while_an_object_is_removed_is_heard(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REMOVING], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.parametrize(("name", "code"), [("SIG_IGN", 0), ("SIG_DFL", 143)])
def test_under_nohup_a_closed_terminal_is_not_heard(name: str, code: int, tmp_path: Path) -> None:
    """Negative control: without it, it is."""
    script = f"""
import os, signal
from nnrun.base.guard import guard
signal.signal(signal.SIGHUP, signal.{name})
guard()
os.kill(os.getpid(), signal.SIGHUP)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == code


def test_the_thread_that_watches_imports_nothing_beside_the_command() -> None:
    """Two threads that import at once may find modules half made: a command in a hundred then failed on a busy machine.

    Negative control: before it watches, the module is not there.
    """
    script = """
import sys
from nnrun.base.guard import watch
needed = {"nnrun.base.signals", "select", "time"}
print(needed <= set(sys.modules))
watch()
print(needed <= set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
