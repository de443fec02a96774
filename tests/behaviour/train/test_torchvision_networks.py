"""Networks of torchvision's out of a checkpoint: the same again, under their names alone, and never a stranger's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnrun import load
from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.locate import locate
from support.command_line import run_here, write_files

WORDS = [
    *("model=torchvision", "model.name=shufflenet_v2_x0_5", "trainer=debug", "data.limit=100"),
    *("export=none", "trainer.progress=false", "hydra.run.dir=run"),
]


def test_a_network_by_name_is_evaluated_again_and_a_strangers_name_is_the_checkpoints_fault(tmp_path: Path) -> None:
    trained = run_here(WORDS, tmp_path)
    again = run_here(["ckpt=run", "hydra.run.dir=again"], tmp_path)
    assert (trained.code, again.code) == (0, 0), trained.err + again.err
    metrics = [json.loads((tmp_path / name / "summary.json").read_text())["metrics"] for name in ("run", "again")]
    assert metrics[0] == metrics[1]
    assert "train shufflenet_v2_x0_5_digits" in trained.out
    path = locate(tmp_path / "run", "best").path
    assert type(load(path)).__module__ == "torchvision.models.shufflenetv2"
    payload = torch.load(path, weights_only=True)
    for name in ("../../x", "resnet"):
        payload["config"]["model"]["name"] = name
        stranger = tmp_path / "stranger.ckpt"
        torch.save(payload, stranger)
        outcome = run_here([f"ckpt={stranger}"], tmp_path)
        assert outcome.code == 4
        with pytest.raises(ArtifactError, match=r"model\.name is "):
            load(stranger)
        assert f"stranger.ckpt: its config is invalid: model.name is '{name}'; allowed: one of" in outcome.err
    typed = run_here(["ckpt=run", "model.name=../../x"], tmp_path)
    assert typed.code == 2, "the negative control: a name that was typed is the user's"


DECIDING = """\
from math import prod
from torch import nn

class Deciding(nn.Module):
    def __init__(self, in_shape, num_classes):
        super().__init__()
        self.flatten, self.first = nn.Flatten(), nn.Linear(prod(in_shape), 16)
        self.again, self.head = nn.Linear(16, 16), nn.Linear(16, num_classes)

    def forward(self, inputs):
        hidden = self.first(self.flatten(inputs)).relu()
        for _ in range(3):
            if hidden.mean() < 1:
                hidden = self.again(hidden).relu()
        return self.head(hidden)
"""
OWN = {
    "conf/model/deciding.yaml": "# Mine.\n_target_: deciding.Deciding\nin_shape: ${data.in_shape}\n"
    "num_classes: ${data.num_classes}\n",
    "deciding.py": DECIDING,
}


def test_a_network_of_ones_own_that_decides_by_its_data_trains_and_is_fine_tuned(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    short = ["model=deciding", "data.limit=100", "trainer.epochs=3", "export=none", "trainer.progress=false"]
    trained = run_here([*short, "hydra.run.dir=run"], tmp_path)
    tuned = run_here([*short, "init_from=run", "transfer.freeze=[first.*]", "hydra.run.dir=tuned"], tmp_path)
    assert (trained.code, trained.err, tuned.code, tuned.err) == (0, "", 0, "")
    before, after = (
        torch.load(locate(tmp_path / name, "best").path, weights_only=True)["model"] for name in ("run", "tuned")
    )
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"again", "head"}
