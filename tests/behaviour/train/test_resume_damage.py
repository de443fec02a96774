"""Files that were damaged, torn or lost, and processes that were killed: the same bits all the same, or why not."""

from __future__ import annotations

import signal
import time

from campaigns.command import Command
from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.cli import main
from support.small_runs import (
    POLLS,
    WORDS,
    assert_same_bits,
    flip,
    manifest,
    resume,
    status,
    summary,
    train,
    tree,
)


def test_a_damaged_newest_checkpoint_falls_back_loudly_to_the_same_bits(whole, stopped, capsys):
    damaged, before = (stopped / "checkpoints" / entry["name"] for entry in reversed(manifest(stopped)["files"][-2:]))
    flip(damaged)
    assert resume(stopped) == 0
    said = "".join(capsys.readouterr())
    said = " ".join(said.split())
    assert f"falling back to {before.name}: 3 steps are lost and will be repeated" in said
    assert f"{damaged.name} is damaged: its sha256 differs from the one that was saved" in said
    assert_same_bits(stopped, whole)


def test_when_every_checkpoint_is_damaged_nothing_is_started_afresh(stopped, capsys):
    for entry in manifest(stopped)["files"]:
        flip(stopped / "checkpoints" / entry["name"])
    before = tree(stopped)
    assert resume(stopped) == 4
    error = capsys.readouterr().err
    assert all(entry["name"] in error for entry in manifest(stopped)["files"])
    assert "has no intact checkpoint" in error
    assert tree(stopped) == before


def test_a_damaged_best_checkpoint_is_said_and_the_best_of_what_follows_takes_its_place(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, stop=2 * POLLS + 3) == 128 + signal.SIGTERM
    best = manifest(run)["best"]
    assert best != manifest(run)["last"]
    flip(run / "checkpoints" / best)
    capsys.readouterr()
    assert resume(run) == 0
    assert f"the best checkpoint {best} is damaged" in capsys.readouterr().out
    assert summary(run)["best"]["epoch"] == 3
    assert manifest(run)["best"] != best


def test_rows_after_the_checkpoint_are_dropped_even_a_torn_one(whole, stopped):
    """A killed process has written rows that its last checkpoint does not know."""
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "epoch": 2, "split": "train", "loss": 9.0}\n{"step": 12, "epo')
    assert resume(stopped) == 0
    assert_same_bits(stopped, whole)


def test_a_run_that_was_lost_before_its_first_step_resumes(whole, tmp_path):
    """Killed after the untrained state was saved."""
    run = tmp_path / "run"
    assert train(run, stop=1) == 143
    folder = CheckpointFolder(run, 2)
    first, second = folder.manifest.files
    assert (first.step, second.step) == (0, 1)
    (run / "checkpoints" / second.name).unlink()
    assert resume(run) == 0
    assert_same_bits(run, whole)


def test_a_killed_run_with_data_workers_resumes_without_them_to_the_same_bits(nursery, whole, tmp_path):
    """It takes its workers with it."""
    run, rows = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    words = [*WORDS, "data.residency=stream", "data.num_workers=2", f"hydra.run.dir={run}"]
    child = nursery.start(Command(main, tmp_path, words))
    while child.is_alive() and not (rows.is_file() and len(rows.read_bytes().splitlines()) >= 4):
        time.sleep(0.001)
    child.send(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert status(run)["state"] == "running"
    assert resume(run, "data.residency=device", "data.num_workers=0") == 0
    assert rows.read_bytes() == (whole / "metrics.jsonl").read_bytes()
