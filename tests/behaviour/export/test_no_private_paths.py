"""What an exported file tells of who made it: nothing of the machine. And the same network gives the same bytes."""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import os
import re
import site
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

import nnrun
from nnrun.base.paths import without_paths
from nnrun.checkpoints.model_card import PATH_LEFT_OUT, paths_left_out, without_private_paths
from nnrun.components.exporters import stripping
from support.command_line import run_here
from support.small_runs import WORDS

pytestmark = pytest.mark.usefixtures("warm_python")

FORMATS = ("onnx", "onnx_int8", "torchscript", "pt2", "safetensors", "torchserve", "hub")
# Of TorchScript torch numbers the classes within a process, whoever they are of.
SAME_BYTES = ("onnx", "safetensors", "pt2")
OWN_NETWORK = """
import torch
from torch import nn


class Peculiar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.Linear(676, 10)

    def forward(self, inputs):
        hidden = self.norm(self.first(inputs)).relu()  # a remark of the author's
        return self.last(hidden.flatten(1))
"""


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, or those of the files in an archive, unpacked, archives within it too; and their names."""
    if content[:2] != b"PK":
        yield name, content
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Torch calls the code of a class by the class's module.
            yield f"{name}: names", "\n".join(archive.namelist()).replace("__torch__/own_network.py", "").encode()
            for entry in archive.infolist():
                yield from contents(f"{name}:{entry.filename}", archive.read(entry))


def private(folder: Path, content: bytes) -> list[str]:
    """What bytes tell of the machine: its folders, its user, its source files and their lines."""
    words = [
        *(str(folder), str(Path.home()) + os.sep, str(Path(nnrun.__file__).parents[2]), sys.prefix, "site-packages"),
        *(*site.getsitepackages(), str(Path(torch.__file__).parent), str(Path(os.__file__).parent)),
        *("a remark of the author's", "/own_network.py", ", line ", "stack_trace", "pytest-of-"),
    ]
    # "root" is a word of many a file.
    words += [getpass.getuser()] if getpass.getuser() != "root" else []
    return [word for word in words if word.encode() in content] + [
        match.decode() for match in re.findall(rb"[\w/.-]*/[\w.-]+\.py\b(?!\.)", content) if match.startswith(b"/")
    ]


def train(folder: Path, formats: Sequence[str]) -> Path:
    folder.mkdir()
    (folder / "own_network.py").write_text(OWN_NETWORK)
    (folder / "conf/model").mkdir(parents=True)
    (folder / "conf/model/peculiar.yaml").write_text("_target_: own_network.Peculiar\n")
    words = [*WORDS, "model=peculiar", f"export=[{','.join(formats)}]", f"hydra.run.dir=run-of-{folder.name}"]
    words = [word for word in words if not word.startswith("model.")]
    outcome = run_here(words, folder)
    assert outcome.code == 0, outcome.err
    return folder / f"run-of-{folder.name}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run twice, as two people have it: in two folders, under two names."""
    base = tmp_path_factory.mktemp("people")
    return train(base / "alice", FORMATS), train(base / "bob", SAME_BYTES)


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_of_an_export_tells_of_the_machine(runs: tuple[Path, Path], name: str) -> None:
    """Each was proven as it lies there, after all this was taken out."""
    run = runs[0]
    files = [path for path in (run / "exports" / name).rglob("*") if path.is_file()]
    assert json.loads((run / "exports" / name / "verification.json").read_text())["ok"] is True
    for path in files:
        for part, content in contents(path.name, path.read_bytes()):
            assert private(run.parent, content) == [], part
            assert not part.endswith(".debug_pkl")
            assert b"alice" not in content, part


def test_what_torch_writes_by_itself_is_found(tmp_path: Path) -> None:
    """The negative control of the test above."""
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    found = [private(tmp_path, content) for _, content in contents("model.pt", script.getvalue())]
    assert any(found)
    program = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), program)
    assert any(private(tmp_path, content) for _, content in contents("model.pt2", program.getvalue()))


def test_the_constants_of_a_class_are_in_order() -> None:
    """Torch takes them out of a set: in each process in another order."""
    code = (
        b"class A(Module):\n  training : bool\n  p : Final[float] = 0.1\n  inplace : Final[bool] = False\n  def f():\n"
    )
    lines = stripping._in_order(code).splitlines()
    assert [line.split()[0] for line in lines] == [b"class", b"training", b"inplace", b"p", b"def"]
    assert sorted(lines) == sorted(code.splitlines())


def test_no_sample_of_the_data_is_in_a_pt2_file(runs: tuple[Path, Path]) -> None:
    loaded = torch.export.load(runs[0] / "exports/pt2/model.pt2")
    assert loaded.example_inputs is None


@pytest.mark.parametrize("name", SAME_BYTES)
def test_the_same_network_of_two_people_gives_the_same_bytes(runs: tuple[Path, Path], name: str) -> None:
    ours, theirs = (
        {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (run / "exports" / name).iterdir()
            if path.suffix != ".json"
        }
        for run in runs
    )
    assert ours
    assert ours == theirs


def test_what_stands_beside_the_weights_is_the_same_too(runs: tuple[Path, Path]) -> None:
    ours, theirs = (json.loads((run / "exports/safetensors/model.json").read_text()) for run in runs)
    # The two were asked for other formats.
    assert sorted(ours["config"].pop("export")) == sorted(FORMATS)
    assert sorted(theirs["config"].pop("export")) == sorted(SAME_BYTES)
    assert ours == theirs


def test_a_config_that_is_given_away_holds_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: what is no path, or lies below the folder that the command is given in, stays."""
    monkeypatch.chdir(tmp_path)
    config = {
        "data": {"root": "/home/alice/photos", "labels": "~/labels.csv", "batch_size": 3, "name": "folder"},
        "model": {"weights": ["../secret.pt", "file:///x", "imagenet", "a/b"], "url": "https://x.org/a"},
        "mine": str(tmp_path / "photos"),
    }
    given = without_private_paths(config)
    assert given == {
        "data": {"root": PATH_LEFT_OUT, "labels": PATH_LEFT_OUT, "batch_size": 3, "name": "folder"},
        "model": {"weights": [PATH_LEFT_OUT, PATH_LEFT_OUT, "imagenet", "a/b"], "url": "https://x.org/a"},
        "mine": "photos",
    }
    assert paths_left_out(given) == ["data.root", "data.labels", "model.weights", "model.weights"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("in /home/alice/net.py, line 3", "in net.py, line 3"),
        ('File "/usr/lib/z.py"', 'File "z.py"'),
        ("~/x/y.pt and /a", "y.pt and a"),
        ("1/2 of them, https://a.b/c, N/A", "1/2 of them, https://a.b/c, N/A"),
    ],
)
def test_a_reason_in_a_proof_names_files_without_their_folders(text: str, says: str) -> None:
    assert without_paths(text) == says
