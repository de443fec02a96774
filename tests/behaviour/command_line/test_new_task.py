"""A new task is one folder and one line: help, checks and notes come from its record."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import nnrun
from nnrun.tasks.table import collect_tasks
from support.command_line import NNRUN, environment

FOLDER = {
    "__init__.py": '"""Count the samples of a data set."""\n',
    "record.py": '''\
"""The record of `task=tally`, and its settings."""

from dataclasses import dataclass

from nnrun.config.conflicts import Conflict
from nnrun.config.ranges import whole
from nnrun.config.task import Task


@dataclass(frozen=True)
class TallySettings:
    """What is counted."""

    upto: int
    by: int


TASK = Task(
    name="tally",
    run="nnrun.tasks.tally.run.tally",
    help=(("nnrun task=tally input=FILE", "count the lines of a file, and say how many there are, as text"),),
    settings=TallySettings,
    ranges={"tally.upto": whole(1), "tally.by": whole(1)},
    conflicts=(
        Conflict(("tally.by", "tally.upto"), lambda by, upto: by > upto, "tally.by={} is more than tally.upto={}"),
    ),
    needs={"input": "task=tally needs input=: a file"},
    excludes={"ckpt": "task=tally and ckpt exclude each other: no network is asked"},
    reads_alone=("input",),
    unread=("model", "trainer"),
    reads_of_unread=("trainer.threads",),
    builds=(),
    not_swept="task=tally is no job of a sweep",
)
''',
    "run.py": '''\
"""`task=tally`: count the lines of a file."""

from pathlib import Path


def tally(composed, words, directory):
    """Print how many lines there are, up to a number."""
    settings = composed.resolved()["tally"]
    for note in composed.notes_on_unread:
        print(note)
    lines = Path(composed.config.input).read_text().splitlines()
    print(f"{min(len(lines), settings['upto'])} lines")
''',
}
# What `task` may be without it.
NAMES = ", ".join(task.name for task in collect_tasks() if task.is_named)
LINE = '    "tally",\n'
SECTION = "\n# What task=tally counts.\ntally:\n  upto: 1000\n  by: 1\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program with the task in it, and a file to count."""
    here, top = Path(nnrun.__file__).parent, tmp_path_factory.mktemp("house")
    shutil.copytree(here, top / "src" / "nnrun", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(here.parents[1] / "conf", top / "conf")
    folder, table = top / "src/nnrun/tasks/tally", top / "src/nnrun/tasks/table.py"
    folder.mkdir()
    for name, text in FOLDER.items():
        (folder / name).write_text(text)
    table.write_text(table.read_text().replace("FOLDERS = (\n", f"FOLDERS = (\n{LINE}"))
    with (top / "conf/config.yaml").open("a") as file:
        file.write(SECTION)
    (top / "work").mkdir()
    (top / "work" / "poem.txt").write_text("a\nb\nc\n")
    return top


def run(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NNRUN, *words],
        cwd=house / "work",
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=str(house / "src"), COLUMNS="120"),
        check=False,
    )


def test_it_is_done_and_what_it_does_not_read_is_said(house: Path) -> None:
    done = run(house, "task=tally", "input=poem.txt", "tally.upto=2", "model=mlp", "seed=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["model has no effect with task=tally", "2 lines"]


def test_help_has_its_command(house: Path) -> None:
    told = run(house, "--help").stdout
    assert "  nnrun task=tally input=FILE               count the lines of a file, and say\n" in told
    assert "                                            how many there are, as text\n" in told
    assert "  tally.upto=1000\n" in told


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["task=tally"], ["task=tally needs input=: a file"]),
        (["task=tally", "input=a", "ckpt=b"], ["task=tally and ckpt exclude each other: no network is asked"]),
        (["tally.upto=3"], ["tally.upto has no effect without task=tally"]),
        # Two tasks read it now.
        (["input=a"], ["input=a has no effect without task=tally or task=predict"]),
        (["task=tally", "input=a", "tally.upto=0"], ["tally.upto is 0; allowed: a whole number from 1 up"]),
        (["task=tally", "input=a", "tally.upto=x"], ["tally.upto is 'x'; allowed: a whole number from 1 up"]),
        (["task=tally", "input=a", "tally.uptoo=1"], ["tally.uptoo is not a setting; did you mean 'tally.upto'?"]),
        (["task=tally", "input=a", "tally.by=9", "tally.upto=3"], ["tally.by=9 is more than tally.upto=3"]),
        (["-m", "task=tally", "input=a,b"], ["task=tally is no job of a sweep"]),
        (["task=tallyy"], [f"tally, {NAMES}"]),
        # Needed by one of the two tasks alone: what one excludes the other may have.
        (["task=predict", "input=a"], ["task=predict needs ckpt="]),
    ],
)
def test_its_checks_come_from_the_record(house: Path, words: list[str], messages: list[str]) -> None:
    done = run(house, *words)
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert len(said) == len(messages), said
    for line, message in zip(said, messages, strict=True):
        assert message in line


def test_without_its_line_there_is_no_such_task(house: Path, tmp_path: Path) -> None:
    """The negative control."""
    shutil.copytree(house, tmp_path / "house")
    table = tmp_path / "house/src/nnrun/tasks/table.py"
    table.write_text(table.read_text().replace(LINE, ""))
    done = run(tmp_path / "house", "task=tally", "input=poem.txt")
    assert done.returncode == 2
    assert f"auto, {NAMES}" in done.stderr
    assert "tally is not a setting" in done.stderr
