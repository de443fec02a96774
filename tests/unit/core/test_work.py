"""Ranks are interrupted together."""

from __future__ import annotations

import signal

import pytest

from nnrun.base.errors import DataError, InterruptedRun
from nnrun.core.seams.world import World
from nnrun.core.work import poll_together


class Votes(World):
    """A rank that receives the others' flags, one for each question, and records its own."""

    def __init__(self, *others: bool) -> None:
        self.others = list(others)
        self.own: list[bool] = []

    def agree(self, flag: bool) -> bool:
        self.own.append(flag)
        return self.others.pop(0) or flag


def hears_ctrl_c() -> None:
    raise InterruptedRun(signal.SIGINT)


def hears_nothing() -> None:
    pass


@pytest.mark.parametrize(("is_ctrl_c", "number"), [(True, signal.SIGINT), (False, signal.SIGTERM)])
def test_a_rank_that_hears_nothing_is_interrupted_with_the_one_that_does(is_ctrl_c: bool, number: int) -> None:
    """Negative control: if no rank receives a signal, none is interrupted."""
    world = Votes(True, is_ctrl_c)
    with pytest.raises(InterruptedRun) as interruption:
        poll_together(hears_nothing, world)()
    assert (interruption.value.exit_code, world.own) == (128 + number, [False, False])
    poll_together(hears_nothing, Votes(False))()


@pytest.mark.parametrize("others", [False, True])
def test_a_rank_that_hears_a_signal_asks_the_others_first_and_keeps_its_own(others: bool) -> None:
    world = Votes(others, others)
    with pytest.raises(InterruptedRun) as interruption:
        poll_together(hears_ctrl_c, world)()
    assert (interruption.value.exit_code, world.own) == (128 + signal.SIGINT, [True, True])


def test_another_error_is_no_matter_to_be_agreed_upon() -> None:
    def fails() -> None:
        raise DataError("gone")

    world = Votes()
    with pytest.raises(DataError):
        poll_together(fails, world)()
    assert world.own == []
