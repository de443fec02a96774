"""Runs that are killed and stopped at random moments: the campaigns find nothing here, and find a program that lies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.campaign import Arena
from campaigns.command import Command
from campaigns.kills import random_kills, signals
from campaigns.nursery import Child, Nursery
from campaigns.variants import VARIANTS, WORDS
from nnrun import cli
from nnrun.base.signals import StopRequest
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.cli import compose
from nnrun.core.state import TrainState


@pytest.fixture
def arena(arena: Arena) -> Arena:
    """With a seed whose first moment is a little behind the middle of a run."""
    return replace(arena, seed=126)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_config(name):
    """Full campaigns alone train each of them."""
    assert compose((*WORDS, *VARIANTS[name])).config.trainer.checkpoint_every_steps == 1


@pytest.mark.parametrize("campaign", [random_kills, signals])
def test_runs_killed_and_stopped_at_random_moments_go_on_to_the_same_bits(arena, campaign):
    result = campaign(arena, 2)
    assert result.tried == 2
    assert result.ok, result.line()


def take_longer(after_save: Callable[[CheckpointFolder, int], None] = lambda *_: None) -> None:
    """Make training the most of a run, so that a moment is surely in it."""
    original = CheckpointFolder.save

    def save(folder, payload, step, *, is_best):
        path = original(folder, payload, step, is_best=is_best)
        after_save(folder, step)
        time.sleep(0.02)
        return path

    CheckpointFolder.save = save


def forget_the_optimizer() -> None:
    """Let a resumed run begin without the state of its optimizer."""
    original = TrainState.load_state_dict

    def forgetful(state, *saved):
        original(state, *saved)
        state.optimizer.state.clear()

    TrainState.load_state_dict = forgetful
    take_longer()


def main_that_forgets(words: Sequence[str]) -> int:
    forget_the_optimizer()
    return cli.main(words)


def main_that_tears_its_manifest(words: Sequence[str]) -> int:
    """It is whole after the last step alone."""

    def tear(folder, step):
        if step < 36:
            (folder.path / "manifest.json").write_text("{")

    take_longer(tear)
    return cli.main(words)


def main_that_does_not_listen(words: Sequence[str]) -> int:
    StopRequest.receive = lambda *_: None
    take_longer()
    return cli.main(words)


@pytest.mark.parametrize(
    ("campaign", "main", "kind", "found"),
    [
        (random_kills, main_that_forgets, "different", "ended with other metrics.jsonl, best and last"),
        (random_kills, main_that_tears_its_manifest, "lost", "manifest.json cannot be read"),
        (signals, main_that_does_not_listen, "unexplained", " was not heard: "),
    ],
)
def test_negative_control_a_program_that_breaks_its_promise_is_found(arena, campaign, main, kind, found):
    """Within some tries: a moment may lie before the first checkpoint, or behind the end of a run that was quick.

    Or behind its last row of metrics, where fewer files differ.
    """
    arena, notes = replace(arena, main=main), []
    for number in range(10):
        result = campaign(replace(arena, seed=arena.seed + number), 1)
        if not result.ok:
            assert getattr(result, kind) == 1
            notes += result.notes
            if found in result.notes[0]:
                return
    pytest.fail(f"{found!r} was not found, but {notes}")


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


def test_a_nursery_that_does_not_come_up_says_why():
    with pytest.raises(ChildProcessError, match="not today"), Nursery(["sh", "-c", "echo not today >&2"]):
        pass


def test_a_nursery_that_ends_leaves_no_child_behind():
    nursery = Nursery()
    nursery._process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        nursery._child = Child(nursery, child.pid)
        nursery.__exit__()
    assert child.returncode == -signal.SIGKILL
