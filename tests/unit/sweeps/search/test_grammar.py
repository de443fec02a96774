"""Hydra's grammar of sweeps as a typed space, on the command line and in YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.config.overrides import ambiguous, jobs_of, parse_all
from nnrun.sweeps.search.grammar import parse_space, space_of
from nnrun.sweeps.search.space import Choice, Interval, Space
from nnrun.tasks.rules import collect_rules

WORDS = [
    "optimizer.lr=tag(log,interval(1e-5,1e-1))",
    "model=mlp,cnn",
    "data.batch_size=choice(32,64,128)",
    "model.dropout=interval(0,1/2)".replace("1/2", "0.5"),
    "early_stopping.patience=int(interval(1,4))",
    "trainer.epochs=range(2,9,3)",
    "seed=5",
]


def space(*words: str, own: tuple[Path, ...] = ()) -> Space:
    typed, problems = parse_all(words)
    assert problems == []
    return space_of(typed, own, collect_rules().ranges)


def test_each_form_of_the_grammar_is_a_typed_dimension() -> None:
    assert space(*WORDS).dimensions == (
        Interval("optimizer.lr", 1e-5, 1e-1, is_log=True),
        Choice("model", ("mlp", "cnn")),
        Choice("data.batch_size", ("32", "64", "128"), is_ordered=True),
        Interval("model.dropout", 0.0, 0.5),
        Interval("early_stopping.patience", 1, 4, is_whole=True),
        Choice("trainer.epochs", ("2", "5", "8"), is_ordered=True),
    )


def test_the_same_words_in_yaml_are_the_same_space_and_the_command_line_wins() -> None:
    typed, _ = parse_all(["seed=5", "optimizer.lr=0.1,0.2"])
    nested = {
        "optimizer": {"lr": "tag(log,interval(1e-5,1e-1))"},
        "model": "mlp,cnn",
        "data.batch_size": [32, 64, 128],
    }
    found = [*typed, *parse_space(nested, typed)]
    assert space_of(found, (), {}).dimensions == (
        Choice("optimizer.lr", ("0.1", "0.2"), is_ordered=True),
        Choice("model", ("mlp", "cnn")),
        Choice("data.batch_size", ("32", "64", "128"), is_ordered=True),
    )
    assert [item.word for item in parse_space(WORDS[:3], ())] == WORDS[:3]
    with pytest.raises(ConfigError, match=r"sweep\.space: 'model=mlp' is one value"):
        parse_space({"model": "mlp"}, ())


def test_a_setting_that_only_some_options_have_exists_only_beside_them() -> None:
    found = space(
        "model=mlp,cnn,resnet18", "model.hidden=64,128", "model.grid=int(interval(8,64))", "data.batch_size=8,16"
    )
    cnn = {"model": 1}
    # Of these, mlp and cnn have model.hidden, cnn alone has model.grid, every data set has data.batch_size.
    assert found.conditions["model.grid"].having == {"cnn"}
    assert "data.batch_size" not in found.conditions
    assert found.exists("model.grid", cnn) and not found.exists("model.grid", {"model": 0})
    points = found.points()
    assert points is not None
    assert {tuple(sorted(found.words(point))) for point in points if found.words(point)["model"] == "mlp"} == {
        ("data.batch_size", "model") if "mlp" not in found.conditions["model.hidden"].having
        else ("data.batch_size", "model", "model.hidden")
    }  # fmt: skip


def test_an_option_that_several_can_be_chosen_of_has_its_own_settings() -> None:
    found = space("augment=none,[crop_flip,erasing]", "augment.erasing.probability=interval(0.1,0.5)")
    assert found.conditions["augment.erasing.probability"].having == {"[crop_flip,erasing]"}


@pytest.mark.parametrize("end", [0.1, 1e-5, 3.3333333e-4, 1.0, 12345.678])
def test_a_drawn_number_is_short_and_reads_back_as_itself(end: float) -> None:
    for item in (Interval("k", end / 1000, end, is_log=True), Interval("k", 0.0, end), Interval("k", end, end + 1)):
        for step in range(101):
            value = item.value_at(step / 100)
            assert item.low <= value <= item.high
            (typed,), problems = parse_all([f"optimizer.lr={item.word(value)}"])
            assert problems == [] and typed.value == value and item.value_of(item.word(value)) == value
            assert value in (item.low, item.high) or len(item.word(value)) <= 10
    whole = Interval("k", 1, 4, is_whole=True)
    assert [whole.value_at((step + 0.5) / 16) for step in range(16)] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["modle=mlp,cnn"], "cannot search over modle: there is no group modle; did you mean 'model'?"),
        (["lr=interval(0.1,1)"], "optimizer.lr"),
        (["model=mlp,cnnn"], "model=cnnn is not an option"),
        (["model=interval(1,2)"], "model is a group: search over its options, such as model="),
        (["model=mlp,cnn", "model.chanels=8,16"], "model.chanels is a setting of none of mlp, cnn"),
        (["optimizer.lr=interval(0.1,0.01)"], "is empty"),
        (["optimizer.lr=tag(log,interval(0,1))"], "has no logarithm at 0"),
        (["optimizer.lr=tag(lin,interval(0,1))"], "the only tag with a meaning here is log"),
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr is -1.0; allowed: a finite number"),
        (["seed=1,2", "seed=3,4"], "seed is searched twice"),
        (["seed=1"], "a search needs settings to search"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_way_out(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        space(*words)
    assert says in str(caught.value)


def test_a_grid_lists_choices_and_refuses_an_interval() -> None:
    typed, problems = parse_all(["seed=1,2", "optimizer.lr=0.1,0.2"])
    assert problems == [] and len(list(jobs_of(typed))) == 4
    typed, problems = parse_all(["optimizer.lr=interval(0.1,1)"])
    assert problems == []
    with pytest.raises(ConfigError, match=r"an interval, which a grid cannot list; search it with sweep=random"):
        list(jobs_of(typed))
    assert "sweep over them with nnrun -m and a search" in ambiguous(typed)[0].text
