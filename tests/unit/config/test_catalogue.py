"""All groups, options and settings that there are, with defaults and comments."""

from __future__ import annotations

from pathlib import Path

from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import GROUPS
from support.command_line import OWN_YAML, write_files


def test_every_group_has_its_default_and_says_what_it_is() -> None:
    groups = Catalogue().groups
    assert tuple(groups) == GROUPS
    assert (groups["model"].default, groups["model"].comment) == ("auto", "the network")


def test_auto_becomes_what_a_plain_run_has() -> None:
    catalogue = Catalogue()
    assert [catalogue.becomes(group, "auto") for group in ("model", "problem", "loss")] == [
        "cnn",
        "classification",
        "cross_entropy",
    ]
    assert (catalogue.becomes("metric", "auto"), catalogue.becomes("model", "mlp")) == ("auto", "mlp")
    assert catalogue.settings("metric", "auto") == [], "which has no settings"


def test_the_options_that_have_a_setting_are_found() -> None:
    """`auto` is none of its own."""
    catalogue = Catalogue()
    assert [(name, held.default) for name, held in catalogue.having("loss.gamma")] == [("focal", "2.0")]
    assert [name for name, _ in catalogue.having("trainer.epochs")] == ["debug", "default", "long"]
    assert list(catalogue.having("trainer.zzz")) == []
    assert list(catalogue.having("seed")) == []


def test_a_setting_is_found_as_a_plain_run_has_it_and_else_where_there_is_one() -> None:
    found = {key: Catalogue().find(key) for key in ("data.batch_size", "loss.gamma", "hydra.run.dir", "x.y")}
    assert {key: it.default.partition("/")[0] if it else None for key, it in found.items()} == {
        "data.batch_size": "32",
        "loss.gamma": "2.0",
        "hydra.run.dir": "outputs",
        "x.y": None,
    }


def test_options_of_ones_own_are_among_ours(tmp_path: Path) -> None:
    write_files(tmp_path, {"model/mynet.yaml": OWN_YAML})
    catalogue = Catalogue((tmp_path,))
    assert "mynet" in catalogue.options("model") and "mynet" not in Catalogue().options("model")
    assert catalogue.target("model", "mynet") == "mynet.MyNet"
    assert "mynet" in [name for name, _ in catalogue.having("model.hidden")]
