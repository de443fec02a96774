"""The checks of a whole config: ranges and conflicts collected from every room, and whose fault what is wrong is."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nnrun import components
from nnrun.base.errors import ArtifactError, Complaint, ConfigError
from nnrun.cli import collect_rules, compose
from nnrun.config.folders import conf_dir
from nnrun.config.from_checkpoint import fault
from nnrun.config.overrides import Typed
from nnrun.config.ranges import number, one_of, several, span, whole
from nnrun.config.rules import Rules
from nnrun.config.schema import NAMED_SECTIONS, RunSettings
from nnrun.config.target_sections import Reference
from nnrun.config.typed_sections import in_words
from nnrun.config.validate import check
from nnrun.config.yaml_files import read_yaml

GADGETS = """
from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import whole

RANGES = {"model.wobble": whole(1, 7)}
CONFLICTS = (Conflict(("model.wobble", "seed"), lambda wobble, seed: wobble == seed, "{} is the seed too: {}"),)
"""


@pytest.fixture
def gadgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rules]:
    """The rules with those of a group of components that has just been added."""
    collect_rules()  # what is remembered is to be without them
    (tmp_path / "gadgets").mkdir()
    (tmp_path / "gadgets" / "__init__.py").touch()
    (tmp_path / "gadgets" / "ranges.py").write_text(GADGETS)
    monkeypatch.setattr(components, "__path__", [*components.__path__, str(tmp_path)])
    yield collect_rules.__wrapped__()
    for name in [name for name in sys.modules if name.startswith("nnrun.components.gadgets")]:
        del sys.modules[name]


def complaints(wobble: Any, rules: Rules) -> list[Complaint]:
    """What is said of a network of ours that has a parameter `wobble` besides."""
    tree = compose([]).resolved()
    tree["model"]["wobble"] = wobble
    listed = {**tree["model"], "wobble": 1}
    return check(tree, {"model": Reference(listed, complete=True)}, rules)


def test_a_range_beside_a_component_is_kept(gadgets: Rules) -> None:
    allowed = "model.wobble is 9; allowed: a whole number from 1 to 7"
    assert complaints(9, gadgets) == [Complaint("model.wobble", allowed)]
    assert complaints(7, gadgets) == []
    assert complaints(9, collect_rules()) == []  # the negative control: without the file nothing is known of it


def test_a_conflict_beside_a_component_is_kept(gadgets: Rules) -> None:
    tree = compose([]).resolved()
    tree["model"]["wobble"] = tree["seed"] = 3
    reference = {"model": Reference({**tree["model"]}, complete=True)}
    assert check(tree, reference, gadgets) == [Complaint("model.wobble", "3 is the seed too: 3", ("seed",))]
    assert check(tree, reference, collect_rules()) == []
    # Of what is wrong already nothing more is said.
    tree["model"]["wobble"] = tree["seed"] = 9
    assert [item.key for item in check(tree, reference, gadgets)] == ["model.wobble"]


def known_keys() -> set[str]:
    """Every key that an option's file lists, or that a section of ours has."""
    keys = {field.name for field in fields(RunSettings)}
    keys |= {f"{name}.{field.name}" for name, cls in collect_rules().sections.items() for field in fields(cls)}
    for path in conf_dir().glob("*/*.yaml"):
        group, content = path.parent.name, read_yaml(path)
        section = f"{group}.{path.stem}" if group in NAMED_SECTIONS else group
        keys |= {f"{section}.{key}" for key in content}
        keys |= {f"data.dataset.{key}" for key in content.get("dataset") or {} if group == "data"}
    return keys


def test_every_range_conflict_and_idle_setting_is_of_keys_that_exist() -> None:
    rules, known = collect_rules(), known_keys()
    named = {*rules.ranges, *(key for conflict in rules.conflicts for key in conflict.keys)}
    rows = [*rules.idle, *(row for task in rules.tasks for row in task.idle)]
    named |= {key for row in rows for key in (*row.words, *row.keys, *row.together)}
    assert len(named) > 100
    assert named - known == set()
    assert {"model.dropot", "data.dataset.dropout"} - known  # the negative control


def test_a_range_stands_beside_what_it_is_about() -> None:
    folders = {"model": "models", "loss": "losses", "augment": "augment", "optimizer": "optimizers"}
    folders |= {"scheduler": "schedulers", "export": "exporters", "data.dataset": "data"}
    ranges = collect_rules().ranges
    for section, folder in folders.items():
        module = sys.modules[f"nnrun.components.{folder}.ranges"]
        wanted = fnmatch.filter(ranges, f"{section}.*")
        assert sorted(module.RANGES) == sorted(wanted)


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("model.width=2", ConfigError),
        ("model=cnn", ConfigError),
        ("model.width.x=2", ConfigError),
        ("seed=1", ConfigError),  # one of the others that it is about
        ("model.widt=2", ArtifactError),
        ("model.depth=2", ArtifactError),
        ("task=evaluate", ArtifactError),
    ],
)
def test_what_a_word_names_is_the_users_fault_and_all_else_the_checkpoints(typed: str, error: type) -> None:
    key, _, value = typed.partition("=")
    found = fault([Complaint("model.width", "it is wrong", ("seed",))], Path("x.ckpt"), [Typed(key, value, typed)])
    assert type(found) is error
    where = "x.ckpt: its config is invalid: " if error is ArtifactError else ""
    assert found.complaints == (Complaint("model.width", where + "it is wrong", ("seed",)),)
    assert type(fault([Complaint("model.width", "it is wrong")], None, [])) is ConfigError


def test_what_is_wrong_only_beside_a_typed_word_is_the_users_fault() -> None:
    """A checkpoint of a training in fp16, and trainer.device=cpu typed: nothing is wrong with the checkpoint."""
    tree = compose([]).resolved()
    tree["trainer"] |= {"precision": "fp16", "device": "cpu"}
    (complaint,) = check(tree, {}, collect_rules())
    assert (complaint.key, complaint.others) == ("trainer.precision", ("trainer.device",))
    device, seed = Typed("trainer.device", "cpu", "trainer.device=cpu"), Typed("seed", 1, "seed=1")
    assert type(fault([complaint], Path("x.ckpt"), [device])) is ConfigError
    assert type(fault([complaint], Path("x.ckpt"), [seed])) is ArtifactError


def test_ranges_say_what_they_allow() -> None:
    cases = (
        (whole(1), "a whole number from 1 up", [1, 99], [0, 1.0, True, None, "1"]),
        (whole(2, 4, null=True), "a whole number from 2 to 4 or null", [2, 4, None], [1, 5]),
        (number(0, above=True), "a finite number above 0", [1e-9, 3], [0, float("inf"), float("nan"), True]),
        (number(0, 1, below=True), "a finite number from 0 and below 1", [0, 0.99], [1, -0.1]),
        (several(whole(1), 2), "a list of 2 numbers, each a whole number from 1 up", [[1, 2]], [[1], [1, 0], 1]),
        (span(0), "[from, to], each a finite number above 0, in rising order", [[1, 1], [1, 2]], [[2, 1], [0, 1]]),
        (one_of("a", "b"), "a, b", ["a"], ["c", None]),
    )
    for allowed, words, good, bad in cases:
        assert allowed.allowed == words
        assert all(allowed.holds(value) for value in good)
        assert not any(allowed.holds(value) for value in bad)


def test_types_are_said_in_a_users_words() -> None:
    hints = {
        int: "a whole number",
        int | None: "a whole number or null",
        list[int]: "a list of whole numbers",
        str | list[str]: "a string or a list of strings",
        list: "a list",
        dict[str, Any]: "a section with a _target_",
        RunSettings: "a section",
    }
    assert {hint: in_words(hint) for hint in hints} == hints
