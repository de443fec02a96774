"""Pausing and promotion: bad trials use few epochs, and none that turns out well is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from nnrun.base.errors import ConfigError
from nnrun.sweeps.seams import Decision, JobState
from nnrun.sweeps.search.draws import RandomDraws
from nnrun.sweeps.search.prune import HyperbandPruner, make_pruner
from nnrun.sweeps.search.searching import Aim, Searcher
from nnrun.sweeps.search.space import Choice, Space
from nnrun.sweeps.search.trial import Trial

Curve = Callable[[int], float]


def run(prune: str, curves: Sequence[Curve], epochs: int = 9, slots: int = 1) -> tuple[Searcher, list[int]]:
    """Drive a search as a sweep does: paused jobs first, then new ones, `slots` side by side, an epoch at a time.

    Trial N has the N-th curve (lower is better). Returns the search, and the epochs that each trial trained.
    """
    space = Space((Choice("seed", tuple(map(str, range(len(curves))))),))
    pruner = make_pruner(prune, epochs)
    search = Searcher(space, RandomDraws(space, 0), pruner, Aim(is_less_better=True, epochs=epochs))
    done = [0] * len(curves)
    running: list[int] = []
    while True:
        while len(running) < slots:
            waiting = [number for number in search.resumable() if number not in running]
            proposal = None if waiting else search.ask()
            if not waiting and proposal is None:
                break
            running.append(waiting[0] if waiting else proposal.number)  # type: ignore[union-attr]
        if not running:
            return search, done
        number = running.pop(0)
        done[number] += 1
        decision = search.report(number, done[number], curves[number](done[number]))
        if done[number] == epochs:
            search.tell(number, curves[number](epochs))
        elif decision is Decision.GO_ON:
            running.append(number)


def flat(value: float) -> Curve:
    return lambda epoch: value - 0.001 * epoch


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("prune", ["none", "median", "asha", "hyperband"])
def test_the_best_of_many_is_found_whatever_is_paused(prune: str, slots: int) -> None:
    values = [0.9, 0.8, 0.5, 0.7, 0.1, 0.6, 0.95, 0.4, 0.85, 0.3, 0.65, 0.75]
    search, done = run(prune, [flat(value) for value in values], slots=slots)
    finished = [trial for trial in search.trials if trial.state is JobState.FINISHED]
    assert min(finished, key=lambda trial: trial.last_value).number == 4
    assert done[4] == 9
    if prune == "none":
        assert done == [9] * 12
    else:
        assert sum(done) < 0.85 * 9 * 12
        # Nothing is left half way but what is paused.
        assert {trial.state for trial in search.trials} == {JobState.FINISHED, JobState.PAUSED}


def late(epoch: int) -> float:
    """Bad at first, best in the end."""
    return 0.6 if epoch < 3 else 0.05


@pytest.mark.parametrize("prune", ["median", "asha"])
def test_a_late_bloomer_that_was_paused_is_taken_up_again_and_wins(prune: str) -> None:
    """Paused at its first epoch beside five better ones; those that follow are worse."""
    curves = [*(flat(0.5) for _ in range(5)), late, *(flat(0.9) for _ in range(20))]
    search, _ = run(prune, curves)
    assert ["report", 5, 1, 0.6] in search.events
    assert search.trials[5].state is JobState.FINISHED
    assert min(search.trials, key=lambda trial: trial.last_value).number == 5
    # It did pause: others were reported between its first epoch and its second.
    first, second = (search.events.index(["report", 5, epoch, late(epoch)]) for epoch in (1, 2))
    assert second > first + 1


def test_without_taking_up_again_the_late_bloomer_would_be_lost() -> None:
    """Negative control: the same with a search that takes up nothing."""
    curves = [*(flat(0.5) for _ in range(5)), late, *(flat(0.9) for _ in range(20))]
    resumable, Searcher.resumable = Searcher.resumable, lambda self: []  # type: ignore[assignment, method-assign]
    try:
        search, _ = run("asha", curves)
    finally:
        Searcher.resumable = resumable  # type: ignore[method-assign]
    assert search.trials[5].state is JobState.PAUSED


def test_asha_promotes_a_third_of_each_rung() -> None:
    _, done = run("asha", [flat(value / 27) for value in range(27)], epochs=27, slots=9)
    assert sorted(done)[-3:] == [9, 9, 27] or sorted(done)[-3:] == [9, 27, 27]
    assert sum(epochs >= 3 for epochs in done) >= 9 and sum(done) < 27 * 27 / 4


def test_few_trials_still_have_a_winner() -> None:
    for prune in ("asha", "median", "hyperband"):
        search, done = run(prune, [flat(0.5), flat(0.4)])
        assert max(done) == 9 and JobState.FINISHED in {trial.state for trial in search.trials}, prune


def test_a_trial_is_not_paused_after_its_last_epoch() -> None:
    search, done = run("asha", [flat(0.1), flat(0.9), flat(0.8), flat(0.7)], epochs=3)
    assert done == [3, 1, 1, 1]
    assert all(trial.state is not JobState.PAUSED or trial.last_step < 3 for trial in search.trials)


def test_the_brackets_of_hyperband_begin_to_pause_later_and_later() -> None:
    pruner = HyperbandPruner(9)
    brackets = [pruner.bracket_of(Trial(number, {}, {})) for number in range(17)]
    # ceil(3/3 * 9), ceil(3/2 * 3), ceil(3/1 * 1)
    assert [brackets.count(bracket) for bracket in (0, 1, 2)] == [9, 5, 3]
    assert set(brackets[:4]) >= {0, 1}
    _, done = run("hyperband", [flat(0.5 + number / 100) for number in range(17)])
    assert {min(done[number] for number in range(17) if brackets[number] == bracket) for bracket in (0, 1, 2)} == {
        1,
        3,
        9,
    }
    with pytest.raises(ConfigError, match="needs the length of a job in epochs"):
        make_pruner("hyperband", None)


def test_nan_is_the_worst() -> None:
    curves = [flat(0.5), flat(0.4), lambda epoch: float("nan"), flat(0.6)]
    search, done = run("asha", curves)
    assert done[2] == 1 and search.trials[2].state is JobState.PAUSED
