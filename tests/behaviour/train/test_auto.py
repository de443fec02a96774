"""What `auto` becomes: by the data option, by what is typed beside it, and by the data itself once it is open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from nnrun.cli import compose
from support.command_line import SHORT, run_here, write_files

OWN_DATA = """\
import torch
from nnrun.api import Dataset, Split

class Scale:
    def __call__(self, raw):
        return raw.float()
    def to_plain(self):
        return {"_target_": "own.Scale"}

class Rows:
    def __init__(self, shape):
        self.shape = shape
    def load(self):
        torch.manual_seed(0)
        split = Split(torch.randn(80, *self.shape), torch.arange(80) % 2)
        return Dataset(split, split, ("even", "odd"), Scale())
"""
FILES = {
    "own.py": OWN_DATA,
    "conf/data/rows.yaml": "defaults: [_base]\nname: rows\ndataset:\n  _target_: own.Rows\n  shape: [5]\n",
    "conf/experiment/deep.yaml": "# @package _global_\nmodel:\n  hidden: [7, 7]\nloss:\n  label_smoothing: 0.1\n",
}
RUN = (*SHORT, "data.batch_size=8", "data.download=false")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, FILES)
    return tmp_path


def saved(run: Path) -> dict:
    """The config in a run's checkpoint."""
    name = json.loads((run / "checkpoints" / "manifest.json").read_text())["last"]
    return torch.load(run / "checkpoints" / name, weights_only=True)["config"]


def test_the_defaults_are_the_cnn_and_the_cross_entropy_of_the_digits() -> None:
    config = compose([]).shown()
    assert config["model"] == compose(["model=cnn"]).shown()["model"]
    assert config["loss"] == compose(["loss=cross_entropy"]).shown()["loss"]


def test_samples_that_are_no_images_get_a_perceptron_which_is_what_is_saved(folder: Path) -> None:
    outcome = run_here([*RUN, "data=rows", "hydra.run.dir=r"], folder)
    assert outcome.code == 0, outcome.err
    assert "model=auto is mlp" in outcome.out
    config = saved(folder / "r")
    assert config["model"]["_target_"].endswith("MLP")
    assert config["model"]["in_shape"] == [5]
    assert config["loss"]["_target_"].endswith("CrossEntropy")
    shown = yaml.safe_load((folder / "r" / "config.yaml").read_text())
    assert (shown["model"]["_target_"], shown["model"]["hidden"]) == (config["model"]["_target_"], [128])
    # Negative control: images of the same source get the CNN, and nothing is said.
    outcome = run_here([*RUN, "data=rows", "data.dataset.shape=[1,12,12]", "hydra.run.dir=i"], folder)
    assert (outcome.code, "model=auto" in outcome.out) == (0, False), outcome.err
    assert saved(folder / "i")["model"]["_target_"].endswith("CNN")


def test_a_run_of_what_auto_became_is_evaluated_and_resumed(folder: Path) -> None:
    assert run_here([*RUN, "data=rows", "hydra.run.dir=r"], folder).code == 0
    for words in (["ckpt=r"], ["ckpt=r", "model=auto", "loss=auto"], ["resume=r"]):
        outcome = run_here([*words, "trust=[own]"], folder)
        assert outcome.code == 0, outcome.err


def test_what_is_typed_goes_to_each_option_that_takes_it(folder: Path) -> None:
    outcome = run_here([*RUN, "data=rows", "model.hidden=[9]", "hydra.run.dir=r"], folder)
    assert outcome.code == 2, "of the CNN, which is assumed, hidden is a number"
    outcome = run_here([*RUN, "data=rows", "model.dropout=0.5", "experiment=none", "hydra.run.dir=r"], folder)
    assert outcome.code == 0, outcome.err
    assert saved(folder / "r")["model"]["dropout"] == 0.5


def test_what_only_another_option_takes_is_no_mistake_until_the_data_says_so(folder: Path) -> None:
    outcome = run_here([*RUN, "data=rows", "model.width=2", "hydra.run.dir=r"], folder)
    assert outcome.code == 2
    assert outcome.err == (
        "nnrun: model.width has no effect: data=rows has samples that are no images, for which model=auto means mlp; "
        "leave it out\n"
    )
    assert compose(["model.width=2"]).shown()["model"]["width"] == 2


def test_an_experiment_sets_what_auto_becomes(folder: Path) -> None:
    outcome = run_here([*RUN, "experiment=deep", "model=mlp", "data=rows", "hydra.run.dir=r"], folder)
    assert outcome.code == 0, outcome.err
    config = saved(folder / "r")
    assert (config["model"]["hidden"], config["loss"]["label_smoothing"]) == ([7, 7], 0.1)


def test_a_setting_of_no_option_is_not_one() -> None:
    with pytest.raises(Exception, match=r"loss\.wieght is not a setting; did you mean 'loss\.weight'"):
        compose(["loss.wieght=balanced"])


def test_a_checkpoint_s_code_is_not_trusted_because_auto_is_typed(folder: Path) -> None:
    """`model=mine` beside ckpt= says that one's own class is meant; `model=auto` says nothing of whose it is."""
    (folder / "conf" / "model").mkdir()
    (folder / "conf" / "model" / "mine.yaml").write_text("_target_: net.Net\nwidth: 3\n")
    (folder / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self, width):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))\n"
    )
    assert run_here([*RUN, "model=mine", "hydra.run.dir=r"], folder).code == 0
    outcome = run_here(["ckpt=r", "model=auto"], folder)
    assert outcome.code == 4
    assert "trust=[net]" in outcome.err
    assert run_here(["ckpt=r", "model=mine"], folder).code == 0
