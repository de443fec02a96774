"""`trust=` is asked for only where a class of a checkpoint is built: what only trains needs none to be evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import SHORT, Outcome, run_here, write_files

MODULE = """\
import torch
from nnrun.api import Callback
from torch.nn import functional

class Steady(torch.optim.SGD):
    pass

class Flat(torch.optim.lr_scheduler.StepLR):
    pass

class Silent(Callback):
    pass

class Deaf:
    def start(self, run): pass
    def log(self, step, values): pass
    def finish(self, summary): pass

class Plain(torch.nn.Module):
    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="none")
"""
FILES = {
    "mine.py": MODULE,
    "other.py": "from mine import Plain\n\nclass Other(Plain):\n    pass\n",
    "conf/loss/other.yaml": "_target_: other.Other\n",
    "conf/optimizer/steady.yaml": "_target_: mine.Steady\nlr: 0.01\n",
    "conf/scheduler/flat.yaml": "_target_: mine.Flat\nstep_size: 5\n",
    "conf/callback/silent.yaml": "# @package callback.silent\n_target_: mine.Silent\n",
    "conf/logger/deaf.yaml": "# @package logger.deaf\n_target_: mine.Deaf\n",
    "conf/loss/plain.yaml": "_target_: mine.Plain\n",
}
TRAINS = ("optimizer=steady", "scheduler=flat", "callback=silent", "logger=deaf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    write_files(folder, FILES)
    done = go(folder, *SHORT, "model=mlp", *TRAINS, "hydra.run.dir=r")
    assert (done.code, done.err) == (0, "")
    assert "next: nnrun export=onnx ckpt=r\n" in done.out, "the command printed asks for no more trust than it needs"
    return folder


def go(folder: Path, *words: str) -> Outcome:
    return run_here(words, folder)


def test_what_only_trains_is_not_asked_for(folder: Path) -> None:
    """The export carries the whole config all the same, and can be evaluated in its turn."""
    assert go(folder, "ckpt=r").code == 0
    assert go(folder, "ckpt=r", "export=safetensors", "hydra.run.dir=e").code == 0
    card = json.loads((folder / "e/exports/safetensors/model.json").read_text())
    assert card["config"]["optimizer"]["_target_"] == "mine.Steady"
    assert go(folder, "ckpt=e/exports/safetensors/model.safetensors").code == 0


def test_to_resume_all_of_it_is_built_and_needs_trust(folder: Path) -> None:
    """Negative control; and so does a loss, which an evaluation measures."""
    refused = go(folder, "resume=r", "trainer.epochs=3")
    assert (refused.code, "trust=[mine]" in refused.err) == (4, True)
    assert go(folder, *SHORT, "model=mlp", "loss=plain", "hydra.run.dir=p").code == 0
    refused = go(folder, "ckpt=p")
    assert (refused.code, "loss._target_ is 'mine.Plain'" in refused.err) == (4, True)


def test_all_that_must_be_trusted_is_asked_for_at_once(folder: Path) -> None:
    """A single module needs no brackets; negative control: it alone is not enough."""
    done = go(folder, *SHORT, "model=mlp", "loss=other", "optimizer=steady", "trainer.epochs=1", "hydra.run.dir=both")
    assert done.code == 0, done.err
    refused = go(folder, "resume=both", "trainer.epochs=2", "trust=mine")
    assert (refused.code, "trust=[mine,other]" in refused.err) == (4, True)
    refused = go(folder, "resume=both", "trainer.epochs=2")
    assert (refused.code, "trust=[mine,other]" in refused.err) == (4, True)
    assert go(folder, "resume=both", "trainer.epochs=2", "trust=[mine,other]").code == 0
    assert go(folder, "ckpt=both", "trust=other").code == 0
