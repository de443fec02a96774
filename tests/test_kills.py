"""Runs that are killed and stopped at random moments: the campaigns find nothing here, and find a program that lies."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nnrun import cli
from nnrun.doctor.campaign import Arena, Main
from nnrun.doctor.kills import VARIANTS, random_kills, signals
from nnrun.doctor.nursery import Command, Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def arena(nursery, tmp_path) -> Arena:
    return Arena(tmp_path, cli.main, seed=0, nursery=nursery)


def with_main(arena: Arena, main: Main) -> Arena:
    return Arena(arena.folder, main, arena.seed, arena.nursery)


def test_runs_killed_at_random_moments_go_on_to_the_same_bits(arena):
    result = random_kills(arena, 2)
    assert result.tried == 2
    assert result.ok, result.line()
    assert list(VARIANTS)[:2] == ["plain", "stream"], "the second one has data workers, which outlive it"


def main_that_forgets(words: Sequence[str]) -> int:
    from nnrun.core.state import TrainState

    original = TrainState.load_state_dict

    def forgetful(state, *saved):
        original(state, *saved)
        state.optimizer.state.clear()

    TrainState.load_state_dict = forgetful
    return cli.main(words)


def test_negative_control_a_lost_optimizer_state_is_found(arena):
    result = random_kills(with_main(arena, main_that_forgets), 2)
    assert result.different > 0
    assert "ended with other metrics.jsonl, best and last" in result.notes[0]


def main_that_tears_its_manifest(words: Sequence[str]) -> int:
    """The manifest is whole at the end alone; a save takes a while, as on a slow disk."""
    from nnrun.core.checkpoint import CheckpointFolder

    original = CheckpointFolder.save

    def careless(folder, payload, step, *, is_best):
        path = original(folder, payload, step, is_best=is_best)
        if step < 18:
            (folder.path / "manifest.json").write_text("{")
            time.sleep(0.02)
        return path

    CheckpointFolder.save = careless
    return cli.main(words)


def test_negative_control_a_checkpoint_that_is_lost_is_found(arena):
    result = random_kills(with_main(arena, main_that_tears_its_manifest), 2)
    assert result.lost > 0
    assert "manifest.json cannot be read" in result.notes[0]


def test_runs_stopped_by_signals_go_on_to_the_same_bits(arena):
    result = signals(arena, 2)
    assert result.tried == 2
    assert result.ok, result.line()


def main_that_does_not_listen(words: Sequence[str]) -> int:
    from nnrun.signals import StopRequest

    StopRequest.receive = lambda *_: None
    return cli.main(words)


def test_negative_control_a_signal_that_is_not_heard_is_found(arena):
    result = signals(with_main(arena, main_that_does_not_listen), 2)
    assert result.unexplained > 0
    assert "was not heard" in result.notes[0]


def main_that_says_much(words: Sequence[str]) -> int:
    """More than a pipe holds, then a signal is waited for, or a file is written."""
    os.write(2, b"x" * 300_000)
    if words == ["wait"]:
        time.sleep(600)
    Path("file").write_bytes(bytes(100))
    assert os.environ["COLOUR"] == "blue"
    return 7


def test_a_nursery_gives_codes_stderr_limits_and_environment(nursery, tmp_path):
    command = Command(main_that_says_much, tmp_path, (), environment={"COLOUR": "blue"})
    child = nursery.start(command)
    assert child.wait() == 7
    assert child.stderr == "x" * 300_000
    assert not child.is_alive()
    assert (tmp_path / "file").stat().st_size == 100
    child = nursery.start(Command(main_that_says_much, tmp_path, (), max_file_bytes=60))
    assert child.wait() == 1
    assert "OSError: [Errno 27] File too large" in child.stderr
    child = nursery.start(Command(main_that_says_much, tmp_path, ["wait"]))
    child.send(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_a_nursery_leaves_no_child_and_says_why_it_did_not_come_up(tmp_path):
    with pytest.raises(ChildProcessError, match="not today"), Nursery(["sh", "-c", "echo not today >&2"]):
        pass
    with Nursery() as nursery:
        child = nursery.start(Command(main_that_says_much, tmp_path, ["wait"]))
        assert child.is_alive()
    for _ in range(1000):
        with contextlib.suppress(FileNotFoundError):
            # An orphan is its new parent's to reap.
            if Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)
                continue
        break
    else:
        pytest.fail("the child lives on")
