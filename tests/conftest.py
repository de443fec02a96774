"""What every test stands on: a quiet environment, and tests that are seen not to run."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from campaigns.campaign import Arena
    from campaigns.nursery import Nursery
    from support.command_line import Outcome

# Before torch is imported, here and in the processes that tests start: small networks, several processes on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Until all tests are collected, as the program does until its modules are imported: what they hold is never garbage,
# and a tenth of the time went into looking at it again and again.
gc.disable()

# Kept while tests are collected, whatever the environment says: asserting in detail rewrites each file, which takes
# several seconds. Not later: a test writes modules anew within a second, and the bytecode of the old would do for them.
_KEEPS_NO_BYTECODE, sys.dont_write_bytecode = sys.dont_write_bytecode, False

# A shell ignores these in what it runs in the background, and nnrun leaves an ignored signal so: the tests that send
# them would wait for nothing.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

# What they compare is shown where it differs, as in a test.
pytest.register_assert_rewrite("support.command_line", "support.small_runs")

# Why tests with a mark did not run, and how many.
_LEFT_OUT = pytest.StashKey[dict[str, tuple[int, str]]]()


def _why_no_gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return "this PyTorch is built without CUDA" if torch.version.cuda is None else "PyTorch finds no CUDA device here"


def _why_no_torchserve() -> str | None:
    missing = [] if shutil.which("java") else ["Java"]
    missing += [] if Path(sys.executable).with_name("torchserve").exists() else ["the extra deploy"]
    return f"{' and '.join(missing)} missing; see make test-deploy" if missing else None


def _why_no_browser() -> str | None:
    from support.browser import CHROMIUM

    return None if CHROMIUM else "no Chromium here: install Debian's package chromium"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="the quickest files alone (make test-fast)")
    parser.addoption(
        "--pages", action="store_true", help="every command of README, docs/ and conf/ too (make test-docs)"
    )
    parser.addoption(
        "--extras",
        action="store_true",
        help="what needs TensorBoard, MLflow and other extras too (make test-extras)",
    )
    parser.addoption("--cluster", action="store_true", help="what needs a Slurm cluster too (make test-cluster)")
    parser.addoption("--record-seconds", action="store_true", help="write down how long each file takes, for --fast")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-seconds") and not hasattr(config, "workerinput"):
        from support.timing import Stopwatch

        config.pluginmanager.register(Stopwatch())
    # Processes take the files in the order of their items, which is ours.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests out that need what is not here, and those of slow files where that is asked for.

    Where several processes run them, begin with the files that take longest: none works on alone at the end.
    """
    config.stash[_LEFT_OUT] = {}
    if hasattr(config, "workerinput"):
        from support.timing import longest_first

        items.sort(key=longest_first(item.path for item in items))
    if config.getoption("--fast"):
        from support.timing import slow_files

        slow = slow_files()
        waiting = [item for item in items if item.path in slow]
        config.stash[_LEFT_OUT]["slow"] = (len(waiting), "make test runs them too")
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item.path not in slow]

    def why_no_pages() -> str | None:
        return None if config.getoption("--pages") else "make test-docs runs them"

    def why_no_extras() -> str | None:
        return None if config.getoption("--extras") else "make test-extras runs them"

    def why_no_cluster() -> str | None:
        from support.slurm import why_no_cluster

        return why_no_cluster() if config.getoption("--cluster") else "make test-cluster runs them"

    reasons = {
        "gpu": _why_no_gpu,
        "torchserve": _why_no_torchserve,
        "browser": _why_no_browser,
        "pages": why_no_pages,
        "extras": why_no_extras,
        "cluster": why_no_cluster,
    }
    for mark, why_not in reasons.items():
        wanting = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not() if wanting else None
        if reason:
            config.stash[_LEFT_OUT][mark] = (len(wanting), reason)
            config.hook.pytest_deselected(items=wanting)
            items[:] = [item for item in items if item not in wanting]


def pytest_collection_finish() -> None:
    """Collect garbage from here on, among what the tests make."""
    sys.dont_write_bytecode = _KEEPS_NO_BYTECODE
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand on what was left out to the process that speaks, where another one runs the tests (pytest-xdist)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(_LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take up what a process left out; each of them collects every test, so that all say the same."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many of them did not run, and why: a green line must not hide them."""
    for mark, (number, reason) in config.stash.get(_LEFT_OUT, {}).items():
        terminalreporter.write_line(f"{number} {mark} tests did not run: {reason}", yellow=True)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what a run changes in its process, the module path and the folder, from the next test."""
    for name in [name for name in os.environ if name.startswith("NNRUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = os.getcwd()  # noqa: PTH109 - as it is
    yield
    os.chdir(folder)


@pytest.fixture(autouse=True, scope="module")
def _own_modules() -> Iterator[None]:
    """Keep the modules in the folders of a file's tests from the next file, which has others of their names."""
    from support.command_line import forget_modules_of_tests

    yield
    forget_modules_of_tests()


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Give each test the same random numbers, alone and after any other: it builds the same network each time."""
    random.seed(0)
    for module, seed in (("numpy", "random.seed"), ("torch", "manual_seed")):
        if module in sys.modules:
            attrgetter(seed)(sys.modules[module])(0)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded data out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waits_for_the_disk() -> Iterator[None]:
    """Let fsync return at once in this process, where a small run spends half of its time in it.

    It is there for a power cut, which no test can see. What is synced, and in what order, is asked by tests that put
    their own in its place; the processes that tests start, those of the campaigns among them, have the real one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is not open, as fsync does
        yield


@pytest.fixture(scope="module")
def warm_python() -> Iterator[None]:
    """Start Python from one that has imported torch: for files whose tests are not about how a process starts."""
    from support.warm import WarmPopen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", WarmPopen)
        yield


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """The folder in which the module's table of ROWS was run, and what came of each; ENVIRONMENT is added to ours."""
    from support.command_line import run_rows

    folder = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in getattr(request.module, "ENVIRONMENT", {}).items():
            monkeypatch.setenv(name, value)
        return folder, run_rows(request.module.ROWS, folder)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process that forks runs, each of which can be killed."""
    from campaigns.nursery import Nursery

    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where campaigns find the runs that others have trained."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def arena(nursery: Nursery, shelf: Path, tmp_path: Path) -> Iterator[Arena]:
    """Where a campaign of processes takes place."""
    from campaigns.campaign import Arena
    from nnrun.cli import main

    yield Arena(tmp_path, main, nursery=nursery, shelf=shelf)
    nursery.end_child()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped; tests leave it as it is."""
    from support.small_runs import train

    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(run) == 0
    return run


@pytest.fixture(scope="session")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.small_runs import STOPS, train

    run = tmp_path_factory.mktemp("stopped") / "run"
    assert train(run, stop=STOPS["mid-epoch"]) == 143
    return run


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """A run stopped in the middle of its second epoch, the test's own copy."""
    return Path(shutil.copytree(_stopped, tmp_path / "run"))
