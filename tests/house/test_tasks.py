"""A task is one folder and one line: its name stands nowhere else in the source."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import nnrun
from nnrun.cli import collect_rules, compose
from nnrun.config.folders import GROUPS, conf_dir
from nnrun.config.schema import NAMED_SECTIONS, TARGET_SECTIONS
from nnrun.config.task import Task
from nnrun.config.yaml_files import read_yaml
from nnrun.tasks.table import FOLDERS, collect_tasks

ROOT = Path(nnrun.__file__).parent
TABLE = "tasks/table.py"
# Names that are also words for something else, in other modules: a part of the data, a group, a scale, a function.
WORDS = {"train", "export", "report", "log", "check"}
# A folder of pictures may be called so.
CALLED_SO = {("components/data/layout.py", "predict")}
TASKS = collect_tasks()


def read_sources() -> dict[str, str]:
    """Every source by its path below the package."""
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


def names_of_tasks(sources: Mapping[str, str]) -> Iterator[str]:
    """Every place outside of a task's folder that knows the task by name."""
    for path, source in sources.items():
        yield from names_in(path, source)


@functools.cache
def names_in(path: str, source: str) -> tuple[str, ...]:
    """Every place in a source."""
    texts, beside = texts_of(source)
    found = []
    for name in FOLDERS:
        if path == TABLE or path.startswith(f"tasks/{name}/"):
            continue
        if re.search(rf"\btask={name}\b", source):
            found.append(f"{path}: task={name}")
        if not path.startswith("tasks/") and re.search(rf"\bnnrun\.tasks\.{name}\b", source):
            found.append(f"{path}: nnrun.tasks.{name}")
        if name in (beside if name in WORDS else texts) and (path, name) not in CALLED_SO:
            found.append(f"{path}: {name!r}")
    return tuple(found)


def texts_of(source: str) -> tuple[frozenset[object], frozenset[object]]:
    """Every constant of a source, and those that something with the word task in it is compared with."""
    tree = ast.parse(source)
    compared = [
        node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Match) and "task" in ast.unparse(node)
    ]
    return constants(tree), frozenset(value for node in compared for value in constants(node))


def constants(tree: ast.AST) -> frozenset[object]:
    return frozenset(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))


def test_a_task_is_named_in_its_own_folder_and_in_one_line_of_the_table() -> None:
    sources = read_sources()
    assert list(names_of_tasks(sources)) == []
    for name in FOLDERS:
        assert [line for line in sources[TABLE].splitlines() if name in line.split('"')] == [f'    "{name}",']
    assert set(FOLDERS) == {path.parent.name for path in ROOT.glob("tasks/*/record.py")}


@pytest.mark.parametrize(
    ("path", "line", "found"),
    [
        ("config/compose.py", 'def f(tree):\n    return tree["task"] == "predict"', "config/compose.py: 'predict'"),
        ("runs/summary.py", 'def f(summary):\n    return summary.task == "train"', "runs/summary.py: 'train'"),
        ("runs/summary.py", 'def f(job):\n    return job.task in ("auto", "export")', "runs/summary.py: 'export'"),
        ("config/schema.py", "# What task=inspect does.", "config/schema.py: task=inspect"),
        ("cli.py", "from nnrun.tasks.doctor.run import doctor", "cli.py: nnrun.tasks.doctor"),
        ("tasks/predict/run.py", '_OTHER = ("inspect",)', "tasks/predict/run.py: 'inspect'"),
    ],
)
def test_a_planted_name_is_found(path: str, line: str, found: str) -> None:
    """The negative control."""
    sources = read_sources()
    assert list(names_of_tasks(sources | {path: f"{sources[path]}\n{line}\n"})) == [found]


def test_a_record_is_called_as_its_folder_and_names_what_there_is() -> None:
    assert [task.name for task in TASKS] == list(FOLDERS)
    for task in TASKS:
        module, _, function = task.run.rpartition(".")
        assert len(inspect.signature(getattr(importlib.import_module(module), function)).parameters) == 3
        assert task.help


@pytest.mark.parametrize("task", TASKS, ids=FOLDERS)
def test_every_key_of_a_record_is_a_setting(task: Task) -> None:
    rules, tree = collect_rules(), compose([]).resolved()
    keys = {*task.ranges, *task.needs, *task.excludes, *task.unread, *task.reads_of_unread, *task.reads_alone}
    keys |= {key for row in (*task.conflicts, *task.idle) for key in row.keys}
    # Data sets have these, and the default one has not.
    for key in keys - {"data.dataset.mean", "data.dataset.std"}:
        node = tree
        for part in key.split("."):
            assert part in node, key
            node = node[part]
    assert {name.partition(".")[0] for name in task.builds or ()} <= {
        *(name.partition(".")[0] for name in TARGET_SECTIONS),
        *NAMED_SECTIONS,
    }
    assert (task.name in read_yaml(conf_dir() / "config.yaml")) == (task.settings is not None)
    assert task.name not in GROUPS or task.settings is None
    assert {key.partition(".")[0] for key in task.ranges} <= {task.name}
    assert set(task.ranges) <= set(rules.ranges)


def test_auto_means_one_task_whatever_else_is_named() -> None:
    for ckpt in (None, "run"):
        for export in ({}, {"onnx": {}}):
            tree = {"ckpt": ckpt, "export": export}
            assert len([task for task in TASKS if task.is_meant is not None and task.is_meant(tree)]) == 1


def test_the_records_need_neither_torch_nor_hydra() -> None:
    script = (
        "import sys\nfrom nnrun.tasks.table import collect_tasks\nassert collect_tasks()\n"
        "print(*{'torch', 'hydra', 'omegaconf', 'yaml', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
