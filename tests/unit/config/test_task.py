"""What the record of a task answers, and what is said of a config that does not fit the task that it names."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.config.overrides import Typed, parse_all
from nnrun.config.task import Task, allowed_names, misfits, task_called, task_of

MEASURE = Task(
    name="measure",
    run="x.y",
    help=(),
    is_meant=lambda tree: tree.get("ckpt") and not tree.get("export"),
    needs={"ckpt": "task=measure needs ckpt="},
    unread=("trainer", "seed"),
    reads_of_unread=("trainer.device",),
    unread_with="ckpt=",
)
SHIP = Task(name="ship", run="x.y", help=(), is_named=False, is_meant=lambda tree: tree.get("ckpt") and tree["export"])
LEARN = Task(name="learn", run="x.y", help=(), is_meant=lambda tree: not tree.get("ckpt"), trains=True)
DRAW = Task(
    name="draw",
    run="x.y",
    help=(),
    settings=dict,
    reads_alone=("input",),
    excludes={"resume": "no resume", "export": "no export"},
    builds=("model", "data"),
)
LOOK = Task(name="look", run="x.y", help=(), takes_only=("hydra.run.dir",), unread_with="task=look, which is quick")
TASKS = (LEARN, MEASURE, SHIP, DRAW, LOOK)


@pytest.mark.parametrize(
    ("tree", "task"),
    [
        ({"task": "auto"}, LEARN),
        ({"task": "auto", "ckpt": "a", "export": {}}, MEASURE),
        ({"task": "auto", "ckpt": "a", "export": {"onnx": {}}}, SHIP),
        ({"task": "measure", "ckpt": "a", "export": {"onnx": {}}}, SHIP),
        ({"task": "draw", "ckpt": "a"}, DRAW),
        # Of what auto means nothing has to be named, and some cannot be.
        ({"task": "ship", "ckpt": "a", "export": {"onnx": {}}}, None),
        ({"task": "nothing"}, None),
        ({"task": ["draw"]}, None),
        ({}, None),
    ],
)
def test_the_task_follows_from_its_name_or_from_what_else_is_set(tree: dict[str, Any], task: Task | None) -> None:
    assert task_of(tree, TASKS) is task


def test_names_are_those_that_may_be_typed() -> None:
    assert allowed_names(TASKS).allowed == "auto, learn, measure, draw, look"
    assert [task_called(name, TASKS) for name in ("draw", "ship", "auto", 3)] == [DRAW, None, None, None]


def test_a_setting_is_read_unless_it_or_its_section_is_not() -> None:
    keys = ("seed", "trainer", "trainer.epochs", "trainer.device", "model", "seeds", "trainers.epochs")
    assert [key for key in keys if MEASURE.reads(key)] == ["trainer.device", "model", "seeds", "trainers.epochs"]
    assert LEARN.reads("trainer.epochs")
    assert (MEASURE.words, DRAW.words) == ("ckpt=", "task=draw")


def test_a_section_is_built_where_it_or_the_one_around_it_is_named() -> None:
    names = ("model", "data.dataset", "loss", "export", "export.onnx")
    assert [name for name in names if DRAW.builds_section(name)] == ["model", "data.dataset"]
    assert all(LEARN.builds_section(name) for name in names)


def typed(*words: str) -> list[Typed]:
    found, problems = parse_all(words)
    assert not problems
    return found


@pytest.mark.parametrize(
    ("words", "tree", "messages"),
    [
        ((), {"task": "measure"}, ["task=measure needs ckpt="]),
        ((), {"task": "measure", "ckpt": "a"}, []),
        ((), {"task": "draw", "resume": "a"}, ["no resume"]),
        # An option of a group that nobody typed is a default.
        ((), {"task": "draw", "export": {"onnx": {}}}, []),
        (("export=onnx",), {"task": "draw"}, ["no export"]),
        (("export.onnx.opset=18",), {"task": "draw"}, ["no export"]),
        (("export=none",), {"task": "draw"}, ["no export"]),
        ((), {"task": "auto", "input": "a.png"}, ["input=a.png has no effect without task=draw"]),
        ((), {"task": "draw", "input": "a.png"}, []),
        (("draw.width=3",), {"task": "auto", "draw": {"width": 3}}, ["draw.width has no effect without task=draw"]),
        ((), {"task": "auto", "draw": {"width": 2}}, []),
        (("task=look", "hydra.run.dir=a"), {"task": "look"}, []),
        (
            ("task=look", "seed=1", "model=cnn"),
            {"task": "look"},
            ["model, seed would have no effect with task=look, which is quick"],
        ),
        (("seed=1",), {"task": "nothing", "resume": "a"}, []),
    ],
)
def test_what_a_task_lacks_and_what_has_no_place_beside_it(
    words: tuple[str, ...], tree: dict[str, Any], messages: list[str]
) -> None:
    assert [item.text for item in misfits(typed(*words), tree, TASKS)] == messages
