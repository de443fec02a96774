"""The examples of docs/python.md, run in their order in one program, and the names that the page lists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nnrun
from nnrun import api
from nnrun.components.data.digits import Digits
from support.command_line import environment
from support.pictures import save

pytestmark = pytest.mark.usefixtures("warm_python")

PAGE = (Path(nnrun.__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_runs_as_it_stands(tmp_path: Path) -> None:
    for index, pixels in enumerate(Digits().load().test.inputs[:2]):
        save(tmp_path / "photos" / f"{index}.png", pixels[0])
    (tmp_path / "page.py").write_text("\n\n".join(SNIPPETS))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(SNIPPETS) == 10
    assert "modle - modle is not a setting; did you mean 'model'?" in done.stdout
    assert "'class_2'" in done.stdout


def test_the_page_lists_every_name_that_may_be_built_on() -> None:
    section = PAGE.partition("## What you may build on")[2]
    named = set(re.findall(r"`(\w+)`", section.partition("| for | names |")[2].partition("\n\n")[0]))
    errors = {name for name in api.__all__ if name.endswith("Error") or name == "InterruptedRun"}
    functions = {"compose", "load", "predictor", "read_samples", "run", "SampleResults", "Summary", "Predictor"}
    assert named | errors | functions == set(api.__all__)
    for name in errors - {"InterruptedRun"}:
        assert f"`{name}`" in PAGE or name == "NnrunError"
