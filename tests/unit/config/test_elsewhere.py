"""What settings and options are called elsewhere: all that these tables point at exists here."""

from __future__ import annotations

import pytest

from nnrun.cli import compose
from nnrun.config.catalogue import Catalogue
from nnrun.config.elsewhere import ADVICE, OPTIONS, SETTINGS, TIMM, TORCHVISION, VALUES
from nnrun.config.folders import GROUPS, options
from nnrun.config.typed_paths import HYDRA_KEYS
from nnrun.config.values import listed_values
from nnrun.tasks.rules import collect_rules

EVERY = Catalogue().every
METRICS = collect_rules().known.metrics


def exists(ours: str) -> bool:
    """Whether words choose options and set settings that there are, or a name is that of a group or a setting."""
    chosen = [f"{group}={option}" for group in GROUPS for option in options(group, ())]
    named = [word.replace("=", ".") for word in chosen]
    places = {*EVERY, *GROUPS, *HYDRA_KEYS, *chosen, *named}
    return all(word in places or ("=" in word and word.partition("=")[0] in EVERY) for word in ours.split())


@pytest.mark.parametrize("ours", [*SETTINGS, *OPTIONS])
def test_what_a_row_points_at_exists(ours: str) -> None:
    assert exists(ours)


def test_a_row_that_points_nowhere_is_found() -> None:
    """The negative control."""
    assert not any(map(exists, ["trainer.epoch", "model=cnnn", "data=torchvision data.dataset.nam=X", "modle"]))


@pytest.mark.parametrize("words", [words for words in OPTIONS if " " not in words])
def test_words_of_an_option_can_be_typed(words: str) -> None:
    group, _, option = words.partition("=")
    assert option in options(group, ())


def test_no_name_stands_in_a_table_that_means_a_setting_or_an_option_here() -> None:
    """It would never be looked up."""
    leaves = {key.rpartition(".")[2] for key in EVERY} | set(GROUPS)
    assert [name for names in SETTINGS.values() for name in names.split() if name in leaves] == []
    for words, names in OPTIONS.items():
        group = words.partition("=")[0]
        here = {option.replace("_", "") for option in options(group, ())}
        assert [name for name in names.split() if name in here] == [], words


def test_names_are_written_as_they_are_compared() -> None:
    assert [name for names in SETTINGS.values() for name in names.split() if name != name.lower() or "-" in name] == []
    assert [name for names in OPTIONS.values() for name in names.split() if name != name.lower() or "_" in name] == []
    for names in [*SETTINGS.values(), *OPTIONS.values()]:
        assert len(names.split()) == len(set(names.split()))
    for group, rows in ADVICE.items():
        names = " ".join(rows.values()).split()
        assert [name for name in names if name != name.lower() or "_" in name or name in options(group, ())] == []
        assert len(names) == len(set(names))


@pytest.mark.parametrize("key", VALUES)
def test_a_value_that_is_meant_is_allowed(key: str) -> None:
    rules = collect_rules()
    words = listed_values(EVERY[key], rules)
    for ours in VALUES[key]:
        is_metric = key == "early_stopping.monitor" and any(ours.removeprefix("valid/") in m for m in METRICS.values())
        assert ours in words or is_metric or rules.ranges[key].holds(ours), ours


def test_the_networks_of_torchvision_are_those_that_there_are() -> None:
    from torchvision import models

    assert set(TORCHVISION) == set(models.list_models(module=models)) - set(options("model", ()))
    composed = compose(["model=torchvision", "model.name=resnet50"])
    assert composed.shown()["model"]["name"] == "resnet50"


def test_the_families_of_timm_are_those_that_there_are() -> None:
    timm = pytest.importorskip("timm")
    names = timm.list_models()
    assert [family for family in TIMM if not any(name.startswith(family) for name in names)] == []
