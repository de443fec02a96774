"""What is known once the data is opened: placeholders before, what the data turned out to be after."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.cli import collect_rules
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.interpolation import known_late
from support.command_line import write_files

OF_FACTS = "# Mine.\n_target_: mine.Net\nsize: ${data.facts.vocab_size}\nmany: ${data.facts.sizes.title}\n"
OF_SHAPES = "# Mine.\n_target_: mine.Net\nimage: ${data.in_shape.image}\nfirst: ${data.in_shape.tabular.0}\n"
OF_OUTPUTS = "# Mine.\n_target_: mine.Net\nnum_outputs: ${data.num_outputs}\n"
OF_CLASSES = "# Mine.\n_target_: mine.Net\nnum_classes: ${data.num_classes}\n"
IMAGE = [1, 28, 28]


@pytest.fixture
def mine(tmp_path: Path):
    def compose(yaml: str) -> Composed:
        write_files(tmp_path, {"conf/model/mine.yaml": yaml})
        return compose_config(["model=mine"], [tmp_path / "conf"], collect_rules())

    return compose


def test_facts_of_the_data_are_placeholders_until_it_is_opened(mine):
    composed = mine(OF_FACTS)
    before = composed.resolved()
    assert before["model"] == {"_target_": "mine.Net", "size": 1, "many": 1}
    assert before["data"]["facts"] is None
    after = composed.resolved(known_late(IMAGE, Targets.values("a"), {"vocab_size": 30, "sizes": {"title": 7}}))
    assert (after["model"]["size"], after["model"]["many"]) == (30, 7)
    assert after["data"]["facts"] == {"vocab_size": 30, "sizes": {"title": 7}}


def test_a_fact_that_the_data_does_not_state_is_named_with_those_that_it_does(mine):
    composed = mine(OF_FACTS)
    with pytest.raises(ConfigError) as raised:
        composed.resolved(known_late(IMAGE, Targets.values("a"), {"vocabulary": 30}))
    assert raised.value.messages == (
        "model.size refers to data.facts.vocab_size, which does not exist; the data has vocabulary",
    )


def test_of_several_tensors_each_shape_has_a_name(mine):
    composed = mine(OF_SHAPES)
    assert composed.resolved()["model"]["image"] == [1, 1, 1]
    after = composed.resolved(known_late({"image": (3, 8, 8), "tabular": (5,)}, Targets.labels("ab")))
    assert (after["model"]["image"], after["model"]["first"]) == ([3, 8, 8], 5)
    assert after["data"]["in_shape"] == {"image": [3, 8, 8], "tabular": [5]}


@pytest.mark.parametrize(
    ("targets", "num_classes"),
    [(Targets.classes("abc"), 3), (Targets.labels("abc"), None), (Targets.values("abc"), None)],
)
def test_the_number_of_outputs_is_filled_in_for_all_kinds_and_that_of_classes_for_classes(mine, targets, num_classes):
    data = mine(OF_OUTPUTS).resolved(known_late(IMAGE, targets))
    assert data["model"]["num_outputs"] == data["data"]["num_outputs"] == 3
    assert data["data"]["num_classes"] == num_classes


def test_a_network_that_asks_for_the_number_of_classes_of_values_is_told_what_to_ask_for(mine):
    composed = mine(OF_CLASSES)
    assert composed.resolved(known_late(IMAGE, Targets.classes("ab")))["model"]["num_classes"] == 2
    with pytest.raises(ConfigError) as raised:
        composed.resolved(known_late(IMAGE, Targets.values()))
    assert raised.value.messages == (
        "model.num_classes refers to data.num_classes, but the data has no classes; use ${data.num_outputs}",
    )
