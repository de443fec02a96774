"""Every JSON file that a run or a sweep leaves states its schema; what an older or a later version wrote is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.runs.summary import Summary
from support.command_line import SHORT, run_here
from support.pictures import make_folder

pytestmark = pytest.mark.usefixtures("warm_python")

# Each of these leaves files that no other leaves.
COMMANDS = (
    [
        *SHORT,
        "export=[onnx,safetensors]",
        "data=folder",
        "data.root=photos",
        "data.batch_size=8",
        "hydra.run.dir=trained",
    ],
    ["ckpt=trained", "hydra.run.dir=evaluated"],
    ["task=predict", "ckpt=trained", "input=photos/test", "hydra.run.dir=predicted"],
    ["task=inspect", "model=mlp", "hydra.run.dir=inspected"],
    ["-m", *SHORT, "model=mlp", "seed=0,1", "hydra.sweep.dir=swept"],
)
NAMES = {
    *("status.json", "summary.json", "environment.json", "manifest.json", "verification.json", "model.json"),
    *("inspect.json", "sweep.json"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    make_folder(folder / "photos", {"train": 8, "test": 4})
    for words in COMMANDS:
        outcome = run_here(words, folder)
        assert outcome.code == 0, outcome.err
    return folder


def test_every_json_file_states_its_schema(folder: Path) -> None:
    files = list(folder.rglob("*.json"))
    assert {path.name for path in files} == NAMES, "the negative control: there are files of each kind"
    schemas = {path: json.loads(path.read_text())["schema"] for path in files}
    raised = {path: number for path, number in schemas.items() if number != 1}
    assert {path.name: number for path, number in raised.items()} == {"verification.json": 2}


def test_a_reader_passes_over_keys_that_a_later_version_wrote(folder: Path) -> None:
    path = folder / "trained" / "summary.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps(before | {"a_key_of_tomorrow": 1}))
    status = json.loads((folder / "trained" / "status.json").read_text())
    (folder / "trained" / "status.json").write_text(json.dumps(status | {"another": "x"}))
    assert run_here(["resume=trained"], folder).code == 0
    assert Summary.from_json(json.loads(path.read_text())).metrics == before["metrics"]
