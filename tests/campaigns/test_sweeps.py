"""Sweeps that are killed at random moments: the campaign finds nothing here, and finds programs that lose what was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from campaigns.sweeps import sweeps
from nnrun import cli
from nnrun.sweeps import table
from nnrun.sweeps.loop import Loop


def test_a_sweep_killed_at_a_random_moment_is_resumed_to_the_same_table(arena):
    result = sweeps(replace(arena, seed=1), 1)
    assert result.tried == 1
    assert result.ok, result.line()


def main_that_forgets_a_job(words: Sequence[str]) -> int:
    restored, listed = Loop.restore, Loop.list_all

    def restore(loop, past):
        restored(loop, replace(past, rows=past.rows[:-1]))

    def list_all(loop):
        if not loop.jobs:
            listed(loop)

    Loop.restore, Loop.list_all = restore, list_all
    return cli.main(words)


def main_that_writes_in_place(words: Sequence[str]) -> int:
    def write(path, text):
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(0.05)
            file.write(text[len(text) // 2 :])

    table.write_text = write
    return cli.main(words)


@pytest.mark.parametrize(
    ("main", "found"),
    [(main_that_forgets_a_job, "sweep.csv has the jobs "), (main_that_writes_in_place, "the record is not whole")],
)
def test_negative_control_a_sweep_that_loses_something_is_found(arena, main, found):
    """Within some tries: a moment may lie before the record, or behind the end of a sweep that was quick."""
    results = (sweeps(replace(arena, main=main, seed=seed), 1) for seed in range(10))
    result = next(result for result in results if not result.ok)
    assert result.lost == 1
    assert found in result.notes[0]
