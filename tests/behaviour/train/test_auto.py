"""What `auto` becomes: by the data option, by what is typed beside it, and by the data itself once it is open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

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
    outcome = run_here([*RUN, "data=rows", "model.dropout=0.5", "experiment=none", "hydra.run.dir=r"], folder)
    assert outcome.code == 0, outcome.err
    assert saved(folder / "r")["model"]["dropout"] == 0.5


def test_a_value_goes_to_the_option_that_takes_one_of_its_type(folder: Path) -> None:
    """The CNN's `hidden` is a number, the perceptron's a list too. Negative control: of images a list is wrong."""
    outcome = run_here([*RUN, "data=rows", "model.hidden=[6]", "trainer.epochs=0", "hydra.run.dir=typed"], folder)
    assert outcome.code == 0, outcome.err
    assert saved(folder / "typed")["model"]["hidden"] == [6]
    outcome = run_here([*RUN, "model.hidden=[6]"], folder)
    assert (outcome.code, outcome.err) == (2, "nnrun: model.hidden is [6]; allowed: a whole number\n")


def test_what_only_another_option_takes_is_no_mistake_until_the_data_says_so(folder: Path) -> None:
    outcome = run_here([*RUN, "data=rows", "model.width=2", "hydra.run.dir=r"], folder)
    assert outcome.code == 2
    assert outcome.err == (
        "nnrun: model.width has no effect: data=rows has samples of another kind, for which model=auto means mlp; "
        "remove it\n"
    )
    assert compose(["model.width=2"]).shown()["model"]["width"] == 2


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small gray pictures with values, with several labels, and with whole numbers to learn."""
    place = tmp_path_factory.mktemp("arrays")
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (120, 12, 12), dtype=np.uint8)
    brightness = x.mean((1, 2)).astype(np.float32)
    np.savez(place / "values.npz", x=x, y=brightness)
    np.savez(place / "whole.npz", x=x, y=(10 * brightness).astype(np.int64))
    np.savez(place / "labels.npz", x=x, y=np.stack([brightness > 127, x[:, 0, 0] > 99], 1).astype(np.int64))
    return place


def became(config: dict) -> list[str]:
    """The classes of what follows from the data, in a run's config."""
    return [config[group]["_target_"].rpartition(".")[2] for group in ("model", "problem", "loss")]


@pytest.mark.parametrize(
    ("words", "classes"),
    [
        (["data.root=values.npz"], ["CNN", "Regression", "SquaredError"]),
        (["data.root=labels.npz"], ["CNN", "Multilabel", "BinaryCrossEntropy"]),
        (["data.root=whole.npz", "problem=regression"], ["CNN", "Regression", "SquaredError"]),
        (["data.root=whole.npz", "loss=huber"], ["CNN", "Regression", "Huber"]),
        (["data.root=values.npz", "early_stopping.monitor=valid/r2"], ["CNN", "Regression", "SquaredError"]),
        (["data.root=labels.npz", "loss.pos_weight=balanced"], ["CNN", "Multilabel", "BinaryCrossEntropy"]),
    ],
)
def test_the_problem_and_the_loss_follow_from_the_targets(arrays: Path, words: list[str], classes: list[str]) -> None:
    run = "-".join(words).replace("/", "-").replace("=", "-")
    outcome = run_here([*RUN, "data=arrays", *words, f"hydra.run.dir={run}"], arrays)
    assert outcome.code == 0, outcome.err
    assert became(saved(arrays / run)) == classes
    assert became(yaml.safe_load((arrays / run / "config.yaml").read_text())) == classes
    outcome = run_here([f"ckpt={run}", f"hydra.run.dir={run}-again"], arrays)
    assert outcome.code == 0, outcome.err
    metrics = [json.loads((arrays / of / "summary.json").read_text())["metrics"] for of in (run, f"{run}-again")]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("kind", ["values", "labels"])
def test_an_inspection_looks_at_what_auto_becomes_and_knows_when_a_batch_is_learned(arrays: Path, kind: str) -> None:
    words = ["task=inspect", "inspect.overfit=true", "data=arrays", f"data.root={kind}.npz", "data.batch_size=16"]
    outcome = run_here([*words, f"hydra.run.dir=inspect-{kind}"], arrays)
    assert outcome.code == 0, outcome.err
    found = json.loads((arrays / f"inspect-{kind}" / "inspect.json").read_text())["overfit"]
    assert (found["reached"], found["score"]) == (True, 1.0)
    assert 0 < found["steps"] < 200


def test_a_sweep_compares_what_auto_became_with_other_losses(arrays: Path) -> None:
    """Negative control: losses of their own scale are not compared, what the problem quotes is."""
    words = [*RUN, "-m", "loss=auto,huber", "data=arrays", "data.root=values.npz", "hydra.sweep.dir=sweep"]
    outcome = run_here(words, arrays)
    assert outcome.code == 0, outcome.err
    assert "ranked by valid/r2: the jobs differ in loss._target_" in outcome.out
    jobs = json.loads((arrays / "sweep" / "sweep.json").read_text())["jobs"]
    r2 = [job["metrics"]["valid/r2"] for job in jobs]
    assert r2 == sorted(r2, reverse=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["data.root=values.npz", "loss.weight=balanced"],
            "loss.weight has no effect: data=arrays has values, for which loss=auto means mse; remove it",
        ),
        (["data.root=labels.npz", "early_stopping.monitor=valid/r2"], "allowed: valid/loss, valid/f1_macro"),
        (["data.root=whole.npz", "early_stopping.monitor=valid/r2"], "allowed: valid/loss, valid/accuracy"),
    ],
)
def test_what_does_not_fit_the_data_is_said_once_it_is_open(arrays: Path, words: list[str], says: str) -> None:
    outcome = run_here([*RUN, "data=arrays", *words], arrays)
    assert outcome.code == 2, outcome.err
    assert says in outcome.err


def test_beside_a_trained_network_what_is_typed_is_wrong_and_what_is_not_built_is_not(arrays: Path) -> None:
    words = [*RUN, "data=arrays", "data.root=values.npz", "export=onnx", "hydra.run.dir=trained"]
    assert run_here(words, arrays).code == 0
    for typed, says in (
        ("problem=classification", "problem=classification learns classes, and loss=mse is for values; remove it"),
        ("loss=focal", "loss=focal is for classes, and problem=regression learns values; remove it"),
        ("data=digits", "data=digits has classes, and problem=regression learns values; name other data"),
    ):
        outcome = run_here(["ckpt=trained", typed], arrays)
        assert (outcome.code, outcome.err) == (2, f"nnrun: {says}\n")
    assert run_here(["ckpt=trained", "loss=mae", "hydra.run.dir=other"], arrays).code == 0
    Image.fromarray(np.load(arrays / "values.npz")["x"][0]).save(arrays / "one.png")
    outcome = run_here(["task=predict", "ckpt=trained", "input=one.png", "data=digits", "hydra.run.dir=said"], arrays)
    assert outcome.code == 0, outcome.err
    assert "data has no effect with task=predict" in outcome.out


def test_a_directory_is_not_named_after_a_network_that_is_only_assumed(folder: Path) -> None:
    """Negative control: of pictures, and of a network that is typed, it is known before the data is open."""
    for words, name in ((["data=rows"], "auto_rows"), (["data=rows", "model=mlp"], "mlp_rows"), ([], "cnn_digits")):
        outcome = run_here([*RUN, *words], folder)
        assert outcome.code == 0, outcome.err
        assert f"train {name} on cpu" in outcome.out
        assert [path for path in outcome.created if path.endswith(f"{name}/summary.json")]


def test_an_experiment_sets_what_auto_becomes(folder: Path) -> None:
    outcome = run_here([*RUN, "experiment=deep", "model=mlp", "data=rows", "hydra.run.dir=r"], folder)
    assert outcome.code == 0, outcome.err
    config = saved(folder / "r")
    assert (config["model"]["hidden"], config["loss"]["label_smoothing"]) == ([7, 7], 0.1)


def test_an_experiment_may_say_what_auto_means(arrays: Path) -> None:
    """Negative control: without it values are learned by mse; and an option that there is not is named."""
    experiments = {
        "robust": "# @package _global_\nloss:\n  values: huber\n  delta: 0.5\n",
        "wrong": "# @package _global_\nloss:\n  values: hubert\n",
    }
    write_files(arrays, {f"conf/experiment/{name}.yaml": text for name, text in experiments.items()})
    words = [*RUN, "data=arrays", "data.root=values.npz", "experiment=robust", "hydra.run.dir=robust"]
    outcome = run_here(words, arrays)
    assert outcome.code == 0, outcome.err
    assert saved(arrays / "robust")["loss"] == {"_target_": "nnrun.components.losses.huber.Huber", "delta": 0.5}
    outcome = run_here([*RUN, "data=arrays", "data.root=values.npz", "experiment=wrong"], arrays)
    assert outcome.code == 2
    known = "bce, cross_entropy, focal, huber, mae, mse"
    assert f"loss=auto names hubert, which is not an option; available: {known}" in outcome.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: null", "model is null; allowed: a section with a _target_"),
        ("loss: 3", "loss is 3; allowed: a section with a _target_"),
        ("data: null", "data lacks name, root"),
        ("loss:\n  label_smoothing: ${nope}", "loss.label_smoothing refers to nope, which does not exist"),
        ("data:\n  targets: ${nope}", "data.targets refers to nope, which does not exist"),
    ],
)
def test_a_section_that_an_experiment_breaks_is_named(tmp_path: Path, text: str, says: str) -> None:
    write_files(tmp_path, {"conf/experiment/broken.yaml": f"# @package _global_\n{text}\n"})
    outcome = run_here(["experiment=broken"], tmp_path)
    assert outcome.code == 2, outcome.err
    assert says in outcome.err


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
