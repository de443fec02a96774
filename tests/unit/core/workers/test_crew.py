"""Processes that work ahead: the same results in the same order, and ended at once, whatever they are doing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nnrun.base.errors import DataError, InterruptedRun, ResourceError
from nnrun.base.signals import stop_request
from nnrun.core.workers import crew as workers
from nnrun.core.workers.crew import Crew, end_workers, in_order

TENSORS = (
    torch.arange(6, dtype=torch.uint8).view(2, 3),
    torch.tensor(2.5),
    torch.empty(0, 3),
    torch.arange(8, dtype=torch.bfloat16).view(2, 4).T,
    torch.tensor([True, False]),
    torch.zeros(300_000),
)
# Far longer than a worker is waited for.
FOR_EVER = 600.0
AT_ONCE_SECONDS = 60.0  # they wait for ten minutes or for ever


def crew(number: int = 2) -> Crew:
    return Crew(number, "reads data ahead", "try fewer")


def named(number: int) -> tuple[int, dict[str, torch.Tensor]]:
    return os.getpid(), {str(number): TENSORS[number % len(TENSORS)]}


@pytest.mark.parametrize("number", [1, 2, 5, 40])
def test_results_come_in_order_whoever_makes_them(number):
    """Negative control: without processes, this one computes them."""
    expected = list(in_order(named, range(17), crew(0)))
    found = list(in_order(named, range(17), crew(number)))
    assert {pid for pid, _ in expected} == {os.getpid()}
    assert len({pid for pid, _ in found} - {os.getpid()}) == min(number, 17)
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        ((name, value),) = ours.items()
        assert (value.dtype, value.shape) == (theirs[name].dtype, theirs[name].shape)
        assert torch.equal(value, theirs[name])


def fail_at_three(number: int) -> int:
    if number == 3:
        raise DataError("sample 3 is bad", "remove it")
    if number == 5:
        raise OSError(errno.EIO, "the disk is ill", "a.png")
    if number == 7:
        raise Unsendable(open)
    return number


class Unsendable(Exception):
    def __init__(self, what: object) -> None:
        super().__init__("a class of its own")
        self.what = lambda: what


@pytest.mark.parametrize("number", [0, 2])
def test_what_fails_there_is_raised_here_in_its_turn(number):
    results = in_order(fail_at_three, range(6), crew(number))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError) as raised:
        next(results)
    assert raised.value.messages == ("sample 3 is bad", "remove it")
    with pytest.raises(OSError, match="the disk is ill") as failed:
        next(in_order(fail_at_three, range(5, 6), crew(number)))
    assert (failed.value.errno, failed.value.filename) == (errno.EIO, "a.png")


def test_an_exception_that_cannot_be_sent_is_told_in_words():
    with pytest.raises(RuntimeError, match="Unsendable: a class of its own"):
        next(in_order(fail_at_three, range(7, 8), crew(1)))


def die(number: int) -> int:
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_an_error_that_says_so():
    results = in_order(die, range(8), crew())
    with pytest.raises(
        ResourceError, match=r"reads data ahead was killed \(SIGKILL\), perhaps because memory ran out; .*try fewer"
    ):
        list(results)
    assert not workers._LIVING


def leave(number: int) -> int:
    os._exit(7)


def test_a_worker_that_leaves_is_an_error_that_says_so():
    with pytest.raises(ResourceError, match="a process that reads data ahead ended with exit code 7; "):
        list(in_order(leave, range(8), crew()))


def wait_in_vain(path: str) -> str:
    """Like a file on a network disk that is gone, or a pipe that nobody writes to."""
    if path:
        Path(path).read_bytes()
    return str(os.getpid())


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie counts as ended too.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("end", ["closed", "for all"])
def test_workers_that_are_stuck_are_ended_at_once(fifo, end):
    results = in_order(wait_in_vain, ["", "", fifo, fifo], crew())
    pids = [int(next(results)) for _ in range(2)]
    assert not any(map(is_gone, pids)), "the negative control"
    begun = time.monotonic()
    results.close() if end == "closed" else end_workers()
    assert all(map(is_gone, pids))
    assert time.monotonic() - begun < AT_ONCE_SECONDS
    assert not workers._LIVING
    assert not workers._PIPES


@pytest.mark.parametrize("is_deferred", [False, True])
def test_a_signal_does_not_wait_for_a_worker_that_is_stuck(fifo, is_deferred):
    """In a training, where it is deferred, it waits only briefly."""
    with stop_request() as stop:
        results = in_order(wait_in_vain, ["", fifo], crew(1))
        pid = int(next(results))
        begun = time.monotonic()
        kill = ["sh", "-c", f"sleep 0.3; kill -TERM {os.getpid()}"]
        with subprocess.Popen(kill), pytest.raises(InterruptedRun):
            if is_deferred:
                with stop.deferred():
                    next(results)
            else:
                next(results)
        assert 0.2 < time.monotonic() - begun < AT_ONCE_SECONDS
    assert is_gone(pid)


def test_a_signal_while_workers_are_ended_is_raised_behind_that(monkeypatch):
    """It must not raise earlier: a full disk ends workers too, and an exception in a closing generator may be lost."""
    end = workers._Workers.end

    def torn(crew: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        end(crew)

    monkeypatch.setattr(workers._Workers, "end", torn)
    with stop_request() as stop:
        results = in_order(wait_in_vain, ["", "", ""], crew())
        next(results)
        results.close()
        assert stop.heard == signal.SIGTERM
        assert not workers._LIVING
    with stop_request(), pytest.raises(InterruptedRun):
        list(in_order(wait_in_vain, ["", "", ""], crew()))


def test_a_signal_to_the_whole_group_is_the_main_process_s_to_answer():
    results = in_order(wait_in_vain, [""] * 9, crew(2))
    pids = [int(next(results)) for _ in range(2)]
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert [int(pid) for pid in results] == [*pids * 3, pids[0]]


KILLED = """
import sys, time
from nnrun.core.workers.crew import Crew, in_order
def work(number):
    if number > 1:
        time.sleep(600)
    import os
    return os.getpid()
results = in_order(work, range(4), Crew(2, "", ""))
print(next(results), next(results), flush=True)
next(results)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker sees it at its next result")
def test_workers_die_with_a_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert not any(map(is_gone, pids)), "the negative control"
        process.kill()
    deadline = time.monotonic() + AT_ONCE_SECONDS
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
