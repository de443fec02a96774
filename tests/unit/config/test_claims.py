"""What `auto` may become, and what settings say of the data: from which kinds are left, and who is wrong."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from nnrun.assembly.allowed import import_target
from nnrun.base.errors import ConfigError
from nnrun.base.targets import KINDS
from nnrun.cli import collect_rules, compose
from nnrun.config.claims import SAMPLES, Claim, claims_of_data, fitting_kinds
from nnrun.config.folders import conf_dir, option_file
from nnrun.config.yaml_files import read_yaml

# Groups of one option that follow from the data.
AUTOS = sorted(path.parent.name for path in conf_dir().glob("*/auto.yaml") if "_global_" not in path.read_text())
KNOWN = collect_rules().known


def test_there_are_groups_that_follow_from_the_data() -> None:
    assert {"model", "loss"} <= set(AUTOS)


@pytest.mark.parametrize("group", AUTOS)
def test_each_kind_of_data_has_an_option_that_is_for_it(group: str) -> None:
    """Their files are read as they are: what Hydra would do with a defaults list is not done."""
    file = read_yaml(conf_dir() / group / "auto.yaml")
    assert list(file) == [kind for kind in (*KINDS, *SAMPLES) if kind in file], "the first is what is assumed"
    for kind, option in file.items():
        path = option_file(group, option, ())
        assert path is not None, option
        content = read_yaml(path)
        assert "defaults" not in content and "@package" not in path.read_text()
        assert kind in KNOWN.data_kinds[content["_target_"]]
        assert group == "model" or len(KNOWN.data_kinds[content["_target_"]]) == 1


def importable() -> list[object]:
    """Return the classes of which something is known; one that imports an extra's package is tried with the extras."""
    hf = "nnrun.components.models.hf."
    return [pytest.param(it, marks=[pytest.mark.extras] if it.startswith(hf) else []) for it in KNOWN.data_kinds]


@pytest.mark.parametrize("target", importable())
def test_what_is_known_is_of_classes_that_there_are(target: str) -> None:
    assert inspect.isclass(import_target("", target))


@pytest.mark.parametrize("target", KNOWN.data_kinds)
def test_what_is_known_is_a_kind_of_data(target: str) -> None:
    assert set(KNOWN.data_kinds[target]) <= {*KINDS, *SAMPLES}


def test_every_loss_problem_and_network_of_ours_says_which_data_it_is_for() -> None:
    """Without an entry its mistakes are found only when the data is open."""
    for group in ("loss", "problem", "model"):
        for path in (conf_dir() / group).glob("*.yaml"):
            target = read_yaml(path).get("_target_")
            assert target is None or target in KNOWN.data_kinds, path


def test_what_is_known_of_data_is_what_is_assumed_first() -> None:
    kinds, problems = fitting_kinds(list(claims_of_data("mine", ("values", "other"))), {}, {})
    assert (kinds, problems) == (["values", "other"], [])
    assert fitting_kinds([], {}, {}) == ([*KINDS, *SAMPLES], [])


def test_two_statements_that_exclude_each_other_are_said_once_and_the_first_holds() -> None:
    loss = Claim("loss", frozenset(("classes",)), "nnrun.components.losses.focal.Focal", "is for")
    data = list(claims_of_data("mine", ("values",)))
    kinds, (problem,) = fitting_kinds([loss, *data], {}, KNOWN.data_kinds)
    assert kinds == ["classes", *SAMPLES]
    assert problem.text.startswith("loss=focal is for classes, and data=mine has values; choose loss=auto")
    assert (problem.key, problem.others) == ("loss", ("data",))


TABLE, TEXTS = ("data=table", "data.root=a.csv", "data.target=y"), ("data=text", "data.root=a.csv", "data.text=t")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("model=bag", *TABLE), "model=bag takes texts, and data=table has tables; choose model=auto or linear or "),
        (("model=gru",), "model=gru takes texts, and data=digits has images; choose model=auto or cnn or hf or mlp or"),
        (("model=tabular",), "model=tabular takes tables, and data=digits has images; choose model=auto or cnn"),
        (("model=tabm", *TEXTS), "model=tabm takes tables, and data=text has texts; choose model=auto or bag or gru"),
        (("model=cnn", *TABLE), "model=cnn takes images, and data=table has tables; choose model=auto or linear or"),
        (("model=resnet18", *TEXTS), "model=resnet18 takes images, and data=text has texts; choose model=auto or bag"),
        (("model=mlp", *TEXTS), "model=mlp takes images or tables or samples of another kind, and data=text has texts"),
        (("model=hf", *TABLE), "model=hf takes images or texts, and data=table has tables; choose model=auto or"),
    ],
)
def test_a_network_for_other_samples_is_named_in_one_sentence(words: tuple[str, ...], says: str) -> None:
    """Not by what it refers to, such as data.facts.vocab_size, which these data do not have."""
    with pytest.raises(ConfigError) as caught:
        compose([*words])
    (problem,) = caught.value.complaints
    assert problem.text.startswith(says)
    kind = KNOWN.data_kinds[read_yaml(conf_dir() / "model" / f"{words[0].partition('=')[2]}.yaml")["_target_"]]
    ways = {("texts",): ", or data=text", ("tables",): ", or data=table"}
    assert problem.text.endswith(ways.get(kind, "")), "the other way out, where there is one"


def test_networks_fit_the_samples_that_they_take() -> None:
    """The negative control."""
    for words in (["model=mlp", *TABLE], ["model=tabm", *TABLE], ["model=lstm", *TEXTS], ["model=vgg"]):
        assert compose(words).config.model is not None


def test_settings_that_no_option_takes_together_are_not_passed_over() -> None:
    """Each two of them share a kind, and all three none."""
    pairs = (("classes", "labels"), ("labels", "values"), ("classes", "values"))
    stated = [Claim(key, frozenset(pair), key, "is for") for key, pair in zip("abc", pairs, strict=True)]
    kinds, (problem,) = fitting_kinds(stated, {}, {})
    assert kinds == ["labels", *SAMPLES]
    assert {problem.key, *problem.others} == {"b", "c"}


def test_a_value_goes_to_every_option_that_has_a_place_for_it(tmp_path: Path) -> None:
    composed = compose(["model.dropout=0.3", "model.hidden=5"])
    sections = [composed.autos["model"].section(option) for option in ("cnn", "mlp")]
    assert [(section.dropout, section.hidden) for section in sections] == [(0.3, 5), (0.3, 5)]
    composed = compose(["model.width=2"])
    assert "width" not in composed.autos["model"].section("mlp")
    assert composed.kinds == ("classes", "images")


def test_the_kinds_that_fit_are_those_that_the_config_leaves() -> None:
    assert compose([]).kinds == ("classes", "images"), "digits says so"
    assert compose(["data=arrays"]).kinds == (*KINDS, *SAMPLES)
    assert compose(["data=arrays", "loss=focal"]).kinds == ("classes", *SAMPLES)
    assert compose(["data=arrays", "model.width=2"]).kinds == (*KINDS, "images")


def test_data_that_is_open_leaves_a_config_that_fits_it_alone() -> None:
    composed = compose(["data=arrays"])
    assert composed.fitted(("classes", "images")) is composed
    other = composed.fitted(("classes", "other"))
    assert (other.became["model"], composed.became["model"]) == ("mlp", "cnn")
    assert composed.config.model._target_.endswith("CNN"), "the one that was asked is not changed"
