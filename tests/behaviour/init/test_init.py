"""`nnrun init DIR`: a small project that runs as it stands, tests and all."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nnrun
from support.command_line import Outcome, Row, environment, run_here, run_rows

pytestmark = pytest.mark.usefixtures("warm_python")

TOP = Path(nnrun.__file__).parents[2]
STARTER = TOP / "starter"
NAME = "my first project"

ROWS = {
    "no folder": Row(["init"], 2, ["nnrun init DIR creates a small project in DIR; DIR is missing"]),
    "two folders": Row(["init", "one", "two"], 2, ["takes no other arguments: one two"]),
    "a setting": Row(["init", "model=cnn"], 2, ["takes no settings: model=cnn"]),
    "not empty": Row(["init", "here"], 2, ["here is not empty"], {"here/x": ""}),
    "a file": Row(["init", "here"], 2, ["here is a file"], {"here": ""}),
    "a sweep": Row(["-m", "init", "here"], 2, ["cannot be a job of a sweep"]),
    "a task": Row(["task=init"], 2, ["task is 'init'; allowed: auto, train"]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The project, in a folder with spaces, and what the command said."""
    folder = tmp_path_factory.mktemp("init")
    return folder / NAME, run_here(["init", NAME], folder)


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of each command of nnrun's that a page shows."""
    found = re.findall(r"^\$ nnrun (.*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


def test_a_project_is_written_and_its_command_said(made: tuple[Path, Outcome]) -> None:
    folder, outcome = made
    assert (outcome.code, outcome.err) == (0, "")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *(".gitignore", "README.md", "mynet.py", "stripes.py", "test_project.py"),
        *("conf/model/mynet.yaml", "conf/data/stripes.yaml", "conf/experiment/first.yaml"),
    }
    assert outcome.out.endswith(f"next: cd '{NAME}' && nnrun experiment=first\n")


def test_every_command_of_its_readme_runs(made: tuple[Path, Outcome]) -> None:
    """The first as it stands: it learns what it says, and what it exports is proven."""
    first, *others = commands_of(made[0] / "README.md")
    assert (first, len(others)) == (["experiment=first"], 3)
    outcome = run_here(first, made[0])
    assert (outcome.code, outcome.err) == (0, "")
    summary = json.loads((made[0] / "outputs/latest/summary.json").read_text())
    assert summary["metrics"]["test/accuracy"] > 0.95
    assert summary["artifacts"]["onnx"]["ok"]
    for words in others:
        short = [] if any(word.startswith("ckpt=") for word in words) else ["trainer.max_steps=2", "export=none"]
        outcome = run_here([*words, *short], made[0])
        assert (outcome.code, outcome.err) == (0, ""), words


def test_its_own_tests_pass(made: tuple[Path, Outcome]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", NAME]
    done = subprocess.run(command, cwd=made[0].parent, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_an_empty_folder_is_taken_and_json_and_quiet_say_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run_here(["--quiet", "init", "empty"], tmp_path).out == "empty\n"
    document = json.loads(run_here(["--json", "init", "other"], tmp_path).out)
    assert (document["task"], document["run"], document["exit_code"]) == ("init", "other", 0)
    assert "mynet.py" in document["files"]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return run_rows(ROWS, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize("name", ROWS)
def test_what_names_no_new_folder_is_refused(name: str, refused: dict[str, Outcome]) -> None:
    outcome = refused[name]
    assert outcome.code == ROWS[name].code, outcome.err
    assert all(text in outcome.err for text in ROWS[name].says), outcome.err
    assert outcome.created == []


def test_its_files_are_in_the_wheel() -> None:
    built = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert built["wheel"]["sources"]["starter"] == "nnrun/starter"
    assert "starter" in built["wheel"]["only-include"]
    assert "starter" in built["sdist"]["include"]
