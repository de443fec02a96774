"""What is installed is typed: a program of a user's passes the strictest check, and one that is wrong does not."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nnrun
from nnrun import api

TOP = Path(nnrun.__file__).parents[2]
PROGRAM = """
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import nnrun
from nnrun.api import (
    Batch, Callback, CannotExport, ConfigError, Dataset, ExportContext, InterruptedRun, Metric, Problem, Split, Sums,
    Summary, Targets,
)


class Mine(Callback):
    def on_fit_end(self, state: Any) -> None:
        print(state.progress.step)


class Count:
    higher_is_better: Mapping[str, bool] = {"count": True}

    def init(self, device: torch.device) -> Sums:
        return {"count": torch.zeros((), device=device)}

    def update(self, sums: Sums, outputs: Tensor, losses: Tensor, batch: Batch) -> None:
        sums["count"] += batch.weight.sum()

    def compute(self, sums: Sums) -> dict[str, float]:
        return {"count": float(sums["count"])}


metric: Metric = Count()


class Ranking(Problem):
    kind: ClassVar = "values"

    def predictions(self, scores: Tensor) -> Tensor:
        return scores.sigmoid()


def evaluate(words: list[str | Path]) -> float:
    try:
        summary: Summary = nnrun.run(words, quiet=True)
    except ConfigError as error:
        print(error.exit_code, [complaint.key for complaint in error.complaints])
        raise
    except InterruptedRun as stop:
        raise SystemExit(stop.exit_code) from stop
    return summary.metrics["test/accuracy"]


config: dict[str, Any] = nnrun.compose(["model=cnn"])
network: nn.Module = nnrun.load(Path("outputs/latest"), trust=["mine"])
"""
WRONG = """
import nnrun
from nnrun.api import Spilt

summary = nnrun.run(["model=cnn"], silent=True)
words: int = summary.task
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of each program, which lies by itself, with the installed package beside it.

    Of both at once: what it finds of torch and of the package takes it long.
    """
    folder = tmp_path_factory.mktemp("typed")
    programs = {"program.py": PROGRAM, "wrong.py": WRONG}
    for name, source in programs.items():
        (folder / name).write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", *programs],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    wrong = [line for line in errors if line.startswith("wrong.py:")]
    return {"program.py": [line for line in errors if line not in wrong], "wrong.py": wrong}


def test_a_program_that_builds_on_the_api_passes_the_strict_check_of_its_types(said: dict[str, list[str]]) -> None:
    assert said["program.py"] == []


def test_a_wrong_program_does_not(said: dict[str, list[str]]) -> None:
    """Negative control: without py.typed, or with names that are Any, nothing would be found."""
    found = "\n".join(said["wrong.py"])
    for text in ('no attribute "Spilt"', 'Unexpected keyword argument "silent"', '"str", variable has type "int"'):
        assert text in found


def test_the_mark_for_type_checkers_is_in_the_wheel() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert "src/nnrun" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert (TOP / "src" / "nnrun" / "py.typed").read_bytes() == b""


@pytest.mark.parametrize("name", api.__all__)
def test_each_name_of_the_api_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(api, name)
    assert found is not None
    if inspect.isclass(found) or inspect.isfunction(found):
        assert inspect.getdoc(found)


def test_a_name_that_is_imported_when_it_is_used_is_listed_once() -> None:
    lazy = [name for names in api._PLACES.values() for name in names]
    assert len(lazy) == len(set(lazy)) and set(lazy) <= set(api.__all__) <= set(dir(api))
    assert set(nnrun.__all__) <= set(dir(nnrun))
    with pytest.raises(AttributeError, match="module 'nnrun' has no attribute 'ruin'"):
        nnrun.ruin  # noqa: B018
