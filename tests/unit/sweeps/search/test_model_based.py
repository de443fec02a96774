"""Searches by Optuna's models: better than chance, conditional, and the same after a resume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest

from nnrun.sweeps.seams import Decision
from nnrun.sweeps.search.draws import Proposer, RandomDraws
from nnrun.sweeps.search.prune import make_pruner
from nnrun.sweeps.search.searching import Aim, Searcher
from nnrun.sweeps.search.space import Choice, Condition, Interval, Space

pytestmark = pytest.mark.extras

SPACE = Space(
    (
        Interval("optimizer.lr", 1e-5, 1e-1, is_log=True),
        Interval("model.dropout", 0.0, 0.9),
        Choice("data.batch_size", ("16", "32", "64", "128", "256"), is_ordered=True),
    )
)
CONDITIONAL = Space(
    (*SPACE.dimensions, Choice("model", ("mlp", "cnn")), Interval("model.width", 1, 64, is_whole=True)),
    {"model.width": Condition("model", frozenset({"cnn"}))},
)
MODELS = ["tpe", "gp", "cmaes"]


def searcher(name: str, space: Space = SPACE, seed: int = 0, prune: str = "none") -> Searcher:
    from nnrun.sweeps.search.model_based import ModelBased

    proposer: Proposer = RandomDraws(space, seed) if name == "random" else ModelBased(name, space, seed, startup=5)
    return Searcher(space, proposer, make_pruner(prune, 9), Aim(is_less_better=True, trials=60, epochs=9))


def loss(chosen: Mapping[str, str]) -> float:
    """A bowl with its bottom at lr 1e-3, dropout 0.3, batches of 64; the mlp is a bit worse."""
    found = (math.log10(float(chosen["optimizer.lr"])) + 3) ** 2 + 4 * (float(chosen["model.dropout"]) - 0.3) ** 2
    found += 0.2 * abs(math.log2(int(chosen["data.batch_size"])) - 6)
    if "model" in chosen:
        found += 0.3 if chosen["model"] == "mlp" else abs(int(chosen["model.width"]) - 32) / 32
    return found


def drive(search: Searcher, number: int) -> list[Mapping[str, str]]:
    """Try so many proposals with two at a time, as two slots would; the last stays open."""
    found = []
    for _ in range(number):
        proposal = search.ask()
        assert proposal is not None
        found.append(proposal.chosen)
        if proposal.number > 0:
            before = search.trials[proposal.number - 1]
            search.tell(before.number, None if before.number % 9 == 4 else loss(before.chosen))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_finds_the_bottom_where_chance_does_not(name: str) -> None:
    def reached(search: Searcher) -> float:
        drive(search, 30)
        return min(trial.last_value for trial in search.trials)

    assert sum(reached(searcher(name, seed=seed)) < 0.15 for seed in range(2)) >= 1
    assert sum(reached(searcher("random", seed=seed)) < 0.15 for seed in range(2)) == 0


@pytest.mark.parametrize("name", MODELS)
def test_resuming_proposes_what_would_have_been_proposed(name: str) -> None:
    whole, broken = searcher(name, CONDITIONAL), searcher(name, CONDITIONAL)
    drive(whole, 18)
    drive(broken, 12)
    again = searcher(name, CONDITIONAL)
    again.recall(json.loads(json.dumps(broken.events)))
    assert drive(again, 6) == [trial.chosen for trial in whole.trials[12:]]
    # Negative control: with another result, the model proposes something else.
    other = searcher(name, CONDITIONAL)
    other.recall([[kind, number, -5.0] if (kind, number) == ("tell", 9) else [kind, number, *rest]
                  for kind, number, *rest in broken.events])  # fmt: skip
    assert drive(other, 6) != [trial.chosen for trial in whole.trials[12:]]


@pytest.mark.parametrize("name", MODELS)
def test_settings_that_do_not_exist_are_not_proposed_and_words_are_short(name: str) -> None:
    found = drive(searcher(name, CONDITIONAL), 20)
    assert all(("model.width" in chosen) == (chosen["model"] == "cnn") for chosen in found)
    assert {"mlp", "cnn"} == {chosen["model"] for chosen in found}
    assert all(len(chosen["optimizer.lr"]) <= 9 and len(chosen["model.dropout"]) <= 6 for chosen in found)


@pytest.mark.parametrize(("name", "is_found"), [("tpe", True), ("gp", True), ("cmaes", True), ("random", False)])
def test_a_model_learns_from_paused_trials_too(name: str, is_found: bool) -> None:
    """With ASHA most are never finished: what they reached at a rung still says where to look."""
    search = searcher(name, prune="asha")
    for _ in range(30):
        proposal = search.ask()
        assert proposal is not None
        for epoch in range(1, 10):
            if search.report(proposal.number, epoch, loss(proposal.chosen) + 1 / epoch) is not Decision.GO_ON:
                break
        else:
            search.tell(proposal.number, loss(proposal.chosen) + 1 / 9)
    assert sum(trial.last_step < 9 for trial in search.trials) > 15
    assert (min(loss(trial.chosen) for trial in search.trials) < 0.1) == is_found
