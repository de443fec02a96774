"""The Search of a sweep: proposals, and what resuming brings back."""

from __future__ import annotations

import json

import pytest

from nnrun.sweeps.seams import Decision, JobState
from nnrun.sweeps.search.draws import RandomDraws
from nnrun.sweeps.search.prune import make_pruner
from nnrun.sweeps.search.searching import Aim, Searcher
from nnrun.sweeps.search.space import Choice, Condition, Interval, Space

LR = Interval("optimizer.lr", 1e-5, 1e-1, is_log=True)
SPACE = Space(
    (Interval("model.width", 1, 64, is_whole=True), LR, Choice("model", ("mlp", "cnn"))),
    {"model.width": Condition("model", frozenset({"cnn"}))},
)


def searcher(space: Space = SPACE, seed: int = 0, trials: int | None = 20, prune: str = "none") -> Searcher:
    return Searcher(space, RandomDraws(space, seed), make_pruner(prune, 9), Aim(is_less_better=False, trials=trials))


def chosen(search: Searcher, number: int) -> list[dict[str, str]]:
    return [dict(proposal.chosen) for _ in range(number) if (proposal := search.ask())]


def test_random_draws_are_a_function_of_seed_and_number() -> None:
    first = chosen(searcher(), 20)
    assert chosen(searcher(), 20) == first
    assert chosen(searcher(seed=1), 20) != first
    # Another setting in the space leaves the draws of the others as they are.
    alone = chosen(searcher(Space((LR,))), 20)
    assert [words["optimizer.lr"] for words in first] == [words["optimizer.lr"] for words in alone]


def test_draws_cover_the_space_and_keep_to_its_conditions() -> None:
    draws = chosen(searcher(trials=300), 300)
    assert all(("model.width" in words) == (words["model"] == "cnn") for words in draws)
    assert list(next(words for words in draws if words["model"] == "cnn")) == ["model.width", "optimizer.lr", "model"]
    rates = [float(words["optimizer.lr"]) for words in draws]
    # Evenly in the logarithm: a quarter in each decade.
    assert all(55 <= sum(low <= rate < 10 * low for rate in rates) <= 95 for low in (1e-5, 1e-4, 1e-3, 1e-2))
    assert 120 <= sum(words["model"] == "cnn" for words in draws) <= 180


def test_a_search_proposes_each_point_once_and_ends_when_all_were() -> None:
    space = Space((Choice("seed", ("1", "2", "3")), Choice("model", ("mlp", "cnn"))))
    search = searcher(space, trials=None)
    found = chosen(search, 100)
    assert len(found) == 6 == len({tuple(sorted(words.items())) for words in found})
    assert search.is_done and search.ask() is None
    assert not searcher(space, trials=7).is_done
    few = searcher(trials=2)
    assert len(chosen(few, 5)) == 2 and few.is_done


def test_a_failed_trial_is_told_apart_from_a_finished_one() -> None:
    search = searcher()
    chosen(search, 3)
    search.tell(0, 0.5)
    search.tell(1, None)
    search.tell(2, float("nan"))
    assert [trial.state for trial in search.trials] == [JobState.FINISHED, JobState.FAILED, JobState.FAILED]


@pytest.mark.parametrize("prune", ["none", "asha"])
def test_a_search_that_is_told_its_events_again_goes_on_alike(prune: str) -> None:
    def drive(search: Searcher, epochs: range) -> list[object]:
        seen: list[object] = []
        for epoch in epochs:
            proposal = search.ask()
            assert proposal is not None
            seen += [proposal.chosen, search.report(proposal.number, 1, 0.1 * (epoch % 3)), list(search.resumable())]
            if epoch % 4 == 0:
                search.tell(proposal.number, float("inf") if epoch == 8 else 0.5)
        return seen

    whole, broken = searcher(prune=prune), searcher(prune=prune)
    drive(whole, range(20))
    drive(broken, range(11))
    again = searcher(prune=prune)
    again.recall(json.loads(json.dumps(broken.events)))
    assert again.events == broken.events
    assert drive(again, range(11, 20)) == drive(broken, range(11, 20))
    assert again.events == whole.events == broken.events
    # Negative control: a search that was told less goes on otherwise.
    less = searcher(prune=prune)
    less.recall(broken.events[:5])
    assert less.ask() != whole.trials[11].chosen


def test_an_epoch_that_is_trained_again_changes_nothing() -> None:
    """A job that was killed reports what it did before; a validation within an epoch is none of its own."""
    search = searcher(prune="asha")
    chosen(search, 4)
    assert [search.report(number, 1, 0.1 * number) for number in range(3)] == [
        Decision.PAUSE,
        Decision.PAUSE,
        Decision.GO_ON,
    ]
    before = list(search.events)
    assert [search.report(2, 1, value) for value in (0.2, -1.0)] == [Decision.GO_ON] * 2
    assert search.events == before
    assert search.report(3, 1, 0.15) is Decision.PAUSE


def test_a_value_that_is_told_again_is_no_event() -> None:
    """A winner that is stopped in its test ends once more. Negative control: another value, and one after a failure."""
    search = searcher()
    search.ask(), search.report(0, 1, 0.5), search.tell(0, 0.5)
    before = list(search.events)
    search.report(0, 1, 0.5)
    assert search.trials[0].state is JobState.FINISHED
    search.tell(0, 0.5)
    assert search.events == before
    search.tell(0, 0.6), search.ask(), search.tell(1, None), search.tell(1, 0.5)
    assert [event[0] for event in search.events[len(before) :]] == ["tell", "ask", "tell", "tell"]


def test_what_was_proposed_then_counts_even_if_something_else_would_be_now() -> None:
    search = searcher(seed=1)
    search.recall([["ask", 0, {"optimizer.lr": "0.02", "model": "mlp"}]])
    assert dict(search.trials[0].chosen) == {"optimizer.lr": "0.02", "model": "mlp"}
    assert search.trials[0].point == {"optimizer.lr": 0.02, "model": 0}
