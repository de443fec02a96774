"""The snippets of docs/deploy.md, just as they are printed, each where there is nothing but what it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import nnrun
from nnrun.components.data.digits import Digits
from nnrun.components.data.normalize import Normalize
from support.command_line import run_here
from support.small_runs import WORDS

pytestmark = pytest.mark.usefixtures("warm_python")

PAGE = Path(__file__).parents[3] / "docs" / "deploy.md"
SNIPPETS = re.findall(
    r"<!-- run by tests/behaviour/export/test_deploy_page.py -->\n```python\n(.+?)```", PAGE.read_text(), re.DOTALL
)
# The file that a snippet opens, and what its process must not have.
FILES = {"model.onnx": {"torch", "nnrun", "onnx"}, "model.pt": {"nnrun"}, "model.pt2": {"nnrun"}}
FILES["model.safetensors"] = {"torch", "nnrun"}
FORMATS = {"model.onnx": "onnx", "model.pt": "torchscript", "model.pt2": "pt2", "model.safetensors": "safetensors"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    done = run_here([*WORDS[:-1], f"export=[{','.join(FORMATS.values())}]", "hydra.run.dir=run"], folder)
    assert (done.code, done.err) == (0, "")
    return folder / "run"


def test_every_snippet_is_run() -> None:
    assert [name for text in SNIPPETS for name in FORMATS if f'"{name}"' in text] == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_snippet_does_what_the_page_says(exported: Path, tmp_path: Path, name: str) -> None:
    (text,) = [text for text in SNIPPETS if f'"{name}"' in text]
    raw = Digits().load().test.inputs[:5]
    np.save(tmp_path / "pixels.npy", raw.numpy())
    torch.save(raw, tmp_path / "pixels.pt")
    for file in (exported / "exports" / FORMATS[name]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    after = f"\nimport sys\nassert not {FILES[name]!r} & set(sys.modules)\n"
    code = [sys.executable, "-I", "-W", "ignore", "-c", text + after]
    said = subprocess.run(code, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    network = nnrun.load(exported)
    if name == "model.safetensors":
        assert said.split()[0] == str(len(network.state_dict()))
        assert isinstance(network.preprocessing, Normalize)
        assert str(list(network.preprocessing.mean)) in said
        return
    with torch.no_grad():
        expected = network(network.preprocessing(raw)).argmax(1)
    assert said.split() == [network.class_names[index] for index in expected]
