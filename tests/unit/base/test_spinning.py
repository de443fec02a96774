"""OpenMP's waiting threads spin while the cores are free, and sleep while other programs want them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nnrun.base import spinning
from nnrun.base.spinning import IdleTeam, SpinsWhileAlone, spin_while_alone


@pytest.fixture(autouse=True)
def _nobody_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)


class Team(IdleTeam):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__(2)
        self.changes: list[str] = []
        self.changed = threading.Condition()

    def note(self, change: str) -> None:
        with self.changed:
            if self.changes[-1:] != [change]:
                self.changes.append(change)
            self.changed.notify_all()

    def keep(self) -> None:
        self.note("sleep")

    def end(self) -> None:
        self.note("spin")

    def wait_for(self, *changes: str) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.changes == list(changes), 20)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Team, Callable[[float], None]]]:
    """A watch over a thread that waits for a core in a share of the time that the test sets."""
    monkeypatch.setattr(spinning, "_LOOK_SECONDS", 0.005)
    team, share = Team(), [0.0]
    waited, then = 0.0, time.monotonic()

    def seconds_without_core() -> float:
        nonlocal waited, then
        now = time.monotonic()
        waited, then = waited + share[0] * (now - then), now
        return waited

    watch = SpinsWhileAlone(seconds_without_core, team)
    yield team, lambda value: share.__setitem__(0, value)
    watch.stop()


def test_threads_sleep_while_others_want_the_cores_and_spin_again_when_they_are_gone(watched) -> None:
    team, set_share = watched
    assert team.wait_for("spin")
    set_share(0.5)
    assert team.wait_for("spin", "sleep")
    set_share(0.15)  # between the two thresholds nothing changes
    time.sleep(0.1)
    assert team.changes == ["spin", "sleep"]
    set_share(0.0)
    assert team.wait_for("spin", "sleep", "spin")


def test_a_watch_that_is_stopped_leaves_openmp_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "_LOOK_SECONDS", 0.005)
    team, start = Team(), time.monotonic()
    watch = SpinsWhileAlone(lambda: time.monotonic() - start, team)
    assert team.wait_for("sleep")
    watch.stop()
    assert team.wait_for("sleep", "spin")


def test_no_thread_is_left_of_a_watch_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: until then there are its own and the owner of the idle team."""
    monkeypatch.setattr(spinning, "_LOOK_SECONDS", 0.005)
    called = threading.Event()
    library = type("Library", (), {"GOMP_parallel": lambda self, *arguments: called.set()})
    monkeypatch.setattr(spinning, "_libgomp", library)
    before, start = set(threading.enumerate()), time.monotonic()
    watch = SpinsWhileAlone(lambda: time.monotonic() - start, IdleTeam(2))
    assert called.wait(20)
    assert len(set(threading.enumerate()) - before) == 2
    watch.stop()
    assert set(threading.enumerate()) <= before


def test_the_watch_ends_with_the_thread_that_it_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "_LOOK_SECONDS", 0.005)
    team, looks = Team(), iter([0.0])

    def seconds_without_core() -> float:
        for seconds in looks:
            return seconds
        raise FileNotFoundError

    SpinsWhileAlone(seconds_without_core, team)
    assert team.wait_for("spin")


@pytest.mark.parametrize(
    ("num_threads", "num_cores", "num_idle"),
    [(2, 2, 2), (8, 8, 2), (4, 8, 6), (1, 8, None), (2, 64, None)],
)
def test_the_idle_team_makes_more_threads_than_cores(monkeypatch, num_threads, num_cores, num_idle) -> None:
    made: list[IdleTeam] = []
    monkeypatch.setattr(spinning, "SpinsWhileAlone", lambda seconds, team: made.append(team))
    monkeypatch.setattr(spinning, "num_cores_by_affinity", lambda: num_cores)
    spin_while_alone(num_threads)
    assert [team.num_threads for team in made] == ([] if num_idle is None else [num_idle])


def test_on_a_busy_machine_spinning_is_off_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: on a quiet one it is on."""
    kept: list[str] = []
    monkeypatch.setattr(spinning, "SpinsWhileAlone", lambda seconds, team: None)
    monkeypatch.setattr(spinning, "num_cores_by_affinity", lambda: 2)
    monkeypatch.setattr(IdleTeam, "keep", lambda self: kept.append("sleep"))
    spin_while_alone(2)
    assert kept == []
    spin_while_alone(2, is_busy=True)
    assert kept == ["sleep"]


@pytest.mark.parametrize("num_left", [0, 1, 5])
def test_no_idle_team_is_started_where_its_threads_could_not_be(monkeypatch: pytest.MonkeyPatch, num_left: int) -> None:
    """libgomp would end the process. Negative control: where they can be started, they are."""
    calls: list[int] = []
    start = threading.Thread.start

    def start_one_of_few(thread: threading.Thread) -> None:
        nonlocal num_left
        if getattr(thread, "_target", None) != team._hold:
            if num_left == 0:
                raise RuntimeError("can't start new thread")
            num_left -= 1
        start(thread)

    class Library:
        def GOMP_parallel(self, *arguments: object) -> None:
            calls.append(len(arguments))
            called.set()

    called, expected, team = threading.Event(), [4] * (num_left > 2), IdleTeam(3)
    monkeypatch.setattr(spinning, "_libgomp", Library)
    monkeypatch.setattr(threading.Thread, "start", start_one_of_few)
    team.keep()
    assert called.wait(20 if expected else 0.2) == bool(expected)
    assert calls == expected
    team.end()


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(spinning, "num_cores_by_affinity", lambda: 2)
    monkeypatch.setenv(name, "1000")
    assert spin_while_alone(2) is None


# Prints how much CPU time the process takes for a little work and much sleep: spinning alone, with the idle team, and
# after the team's end.
_SPINS = """
import time, torch
from nnrun.base.spinning import IdleTeam
def cpu_seconds():
    numbers, start = torch.zeros(400_000), time.process_time()
    for _ in range(40):
        numbers.add_(1)
        time.sleep(0.01)
    return time.process_time() - start
cpu_seconds()
team, taken = IdleTeam(len(__import__("os").sched_getaffinity(0))), [cpu_seconds()]
team.keep()
time.sleep(0.2)
taken.append(cpu_seconds())
team.end()
time.sleep(0.2)
taken.append(cpu_seconds())
print(*taken)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP on Linux")
def test_libgomp_spins_shortly_while_the_idle_team_is_there_and_long_again_after_its_end() -> None:
    """As its manual says; the negative control is the same work before and after."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core: no thread waits for another")
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", _SPINS], env=environment, capture_output=True, text=True, check=True)
    before, meanwhile, after = map(float, run.stdout.split())
    assert before > 2 * meanwhile < after, run.stdout


@pytest.mark.parametrize("is_busy", [False, True])
def test_where_no_thread_can_be_started_openmp_spins_as_by_default(
    is_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error. Negative control: the same with a thread."""

    def no_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(spinning, "num_cores_by_affinity", lambda: 2)
    watch = spin_while_alone(2, is_busy=is_busy)
    assert watch is not None
    watch.stop()
    monkeypatch.setattr(threading.Thread, "start", no_start)
    assert spin_while_alone(2, is_busy=is_busy) is None
