"""Runs in several processes that lose one: the campaign finds nothing here, and finds a program that forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from campaigns.campaign import Arena
from campaigns.ranks import main_of_a_command, ranks
from campaigns.test_kills import forget_the_optimizer


def main_that_forgets(words: Sequence[str]) -> int:
    """Every process of a resumed run does."""
    forget_the_optimizer()
    return main_of_a_command(words)


def test_a_run_that_loses_a_process_goes_on_to_the_same_bits(arena: Arena) -> None:
    result = ranks(arena, 1)
    assert result.tried == 1
    assert result.ok, result.line()


def test_negative_control_a_program_that_forgets_is_found(arena: Arena) -> None:
    """Within some tries: a moment may lie before the first checkpoint."""
    arena, notes = replace(arena, main=main_that_forgets), []
    for seed in range(10):
        result = ranks(replace(arena, seed=seed), 1)
        if result.different:
            return
        notes += result.notes
    pytest.fail(f"nothing was different, but {notes}")
