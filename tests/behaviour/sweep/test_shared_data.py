"""Jobs of a sweep with the same data open it once: it is counted how often a data set of the user's own is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnrun.checkpoints.manifest import read_manifest
from nnrun.cli import main
from support.command_line import write_files

FILES = {
    "conf/data/noted.yaml": """\
# Random samples; each load is noted in a file.
defaults:
  - _base
name: noted
dataset:
  _target_: noted.Noted
  mood: fine
""",
    "noted.py": """\
import os
import torch
from nnrun.api import DataError, Dataset, Split

class Plain:
    def __call__(self, raw):
        return raw

    def to_plain(self):
        return {"_target_": "noted.Plain"}

class Noted:
    def __init__(self, mood):
        self.mood = mood

    def load(self):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(self.mood + "\\n")
        if self.mood == "wrong":
            raise DataError("sample 7 has no target")
        if self.mood == "dies":
            os._exit(3)
        numbers = torch.Generator().manual_seed(0)
        inputs = torch.randn(120, 5, generator=numbers)
        targets = (inputs[:, 0] > 0).long()
        plain = Plain()
        if self.mood == "odd":
            plain.cannot_be_pickled = lambda: None
        return Dataset(Split(inputs[:90], targets[:90]), Split(inputs[90:], targets[90:]), ["low", "high"], plain)
""",
}
JOB = ("data=noted", "model=mlp", "model.hidden=[8]", "trainer.epochs=1", "trainer.device=cpu", "trainer.threads=1")
WORDS = ("-m", *JOB, "export=none", "report=none", "hydra.sweep.dir=swept")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path, FILES)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bits(run: Path) -> dict[str, bytes]:
    folder = run / "checkpoints"
    name = read_manifest(folder).last
    assert name is not None
    return {
        key: value.numpy().tobytes() for key, value in torch.load(folder / name, weights_only=True)["model"].items()
    }


def jobs() -> dict[int, dict[str, object]]:
    return {row["number"]: row for row in json.loads(Path("swept/sweep.json").read_text())["jobs"]}


def test_jobs_side_by_side_open_the_same_data_once_and_have_the_bits_of_a_run_alone(folder: Path) -> None:
    """Not those with other data; and each by itself what cannot be shared, or what another job failed to open."""
    swept = ("data.dataset.mood=fine,odd,wrong,dies", "data.val_fraction=0.2", "data.batch_size=20,30")
    assert main([*WORDS, *swept, "sweep.parallel=2"]) == 1
    loads = (folder / "notes").read_text().split()
    assert {mood: loads.count(mood) for mood in ("fine", "odd", "wrong", "dies")} == {
        "fine": 1,
        "odd": 2,
        "wrong": 2,
        "dies": 2,
    }
    ended = jobs()
    assert [ended[number]["exit_code"] for number in range(8)] == [0] * 4 + [3] * 2 + [70] * 2
    assert {ended[number]["reason"] for number in (4, 5)} == {"sample 7 has no target"}
    command = (*JOB, "export=none", "report=none", "data.val_fraction=0.2", "data.batch_size=30")
    assert main([*command, "hydra.run.dir=alone"]) == 0
    assert bits(Path(str(ended[1]["directory"]))) == bits(Path("alone"))
    assert bits(Path(str(ended[0]["directory"]))) != bits(Path("alone")), "negative control: another batch size"


def test_jobs_one_after_another_open_the_same_data_once(folder: Path) -> None:
    assert main([*WORDS, "data.batch_size=20,30", "data.limit=60,80", "sweep.parallel=1"]) == 0
    assert (folder / "notes").read_text().split() == ["fine"] * 2, "once for each data.limit"
