"""Samples of several tensors, a picture and a vector in a dict, from the data source and for the network of a user."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import nnrun
from support.command_line import Outcome, run_here, write_files
from support.small_runs import assert_same_bits, status, stop_at, summary

pytestmark = pytest.mark.usefixtures("warm_python")

FILES = {
    "both.py": '''\
"""Neither the picture nor the vector says the class alone: it is the brighter half and the sign together."""

import torch
from nnrun.api import Dataset, Split
from torch import Tensor, nn


def part(number, seed):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 100, (number, 1, 6, 6), generator=generator, dtype=torch.uint8)
    right = torch.randint(0, 2, (number,), generator=generator)
    pictures[right == 1, :, :, 3:] += 120
    pictures[right == 0, :, :, :3] += 120
    vectors = torch.randn(number, 4, generator=generator)
    positive = (vectors[:, 0] > 0).long()
    vectors[:, 0] += 2 * positive - 1
    return Split({"picture": pictures, "vector": vectors}, 2 * right + positive)


class Scaled:
    def __init__(self, white):
        self.white = white

    def __call__(self, raw):
        return {"picture": raw["picture"].float() / self.white - 0.5, "vector": raw["vector"]}

    def to_plain(self):
        return {"_target_": "both.Scaled", "white": self.white}


class Both:
    def load(self):
        return Dataset(
            train=part(400, 0),
            test=part(120, 1),
            class_names=("left -", "left +", "right -", "right +"),
            preprocessing=Scaled(255.0),
        )


class Net(nn.Module):
    def __init__(self, in_shape, num_outputs, width):
        super().__init__()
        channels, height, length = in_shape["picture"]
        self.picture = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * length, width), nn.ReLU())
        self.vector = nn.Sequential(nn.Linear(in_shape["vector"][0], width), nn.ReLU())
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([self.picture(inputs["picture"]), self.vector(inputs["vector"])], 1))
''',
    "conf/data/both.yaml": """\
# A picture and a vector a sample.
#   nnrun data=both
defaults:
  - _base

name: both
dataset:
  _target_: both.Both
""",
    "conf/model/both.yaml": """\
# A network of a picture and a vector.
#   nnrun model=both
_target_: both.Net
in_shape: ${data.in_shape}
num_outputs: ${data.num_outputs}
width: 16
""",
}
FORMATS = ("onnx", "torchscript", "pt2", "safetensors")
WORDS = [
    *("data=both", "model=both", "optimizer.lr=0.02", "data.batch_size=32", "data.val_fraction=0.2"),
    *("trainer.epochs=4", "trainer.progress=false", "trainer.log_every_steps=1"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("both")
    write_files(home, FILES)
    return home


def run(home: Path, name: str, words: Sequence[str], *, stop: int | None = None) -> Outcome:
    """Run in a directory of that name; a stop is a SIGTERM at that poll."""
    with stop_at(stop):
        return run_here([*words, f"hydra.run.dir={home / name}"], home)


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    outcome = run(home, "trained", [*WORDS, f"export=[{','.join(FORMATS)}]"])
    assert (outcome.code, outcome.err) == (0, "")
    return home / "trained"


def test_it_is_learned_and_every_format_is_proven(trained: Path) -> None:
    found = summary(trained)
    assert found["metrics"]["test/accuracy"] > 0.9, "from one of the two tensors no more than half can be right"
    assert {name: (row["ok"], row["agreement"]) for name, row in found["artifacts"].items()} == dict.fromkeys(
        FORMATS, (True, 1.0)
    )


def test_a_stopped_run_is_resumed_to_the_same_bits(home: Path) -> None:
    whole, stopped = home / "whole", home / "stopped"
    assert run(home, "whole", [*WORDS, "export=none"]).code == 0
    assert run(home, "stopped", [*WORDS, "export=none"], stop=17).code == 143
    assert status(stopped)["state"] == "interrupted"
    assert run_here([f"resume={stopped}", "trust=[both]"], home).code == 0
    assert_same_bits(stopped, whole)
    other = home / "other"
    assert run(home, "other", [*WORDS, "export=none", "seed=1"]).code == 0
    assert (other / "metrics.jsonl").read_bytes() != (whole / "metrics.jsonl").read_bytes(), "the negative control"


def test_the_run_is_evaluated_again(home: Path, trained: Path) -> None:
    outcome = run(home, "again", [f"ckpt={trained}", "trust=[both]"])
    assert outcome.code == 0, outcome.err
    assert summary(home / "again")["metrics"] == summary(trained)["metrics"]
    weights = trained / "exports/safetensors/model.safetensors"
    outcome = run(home, "from-weights", [f"ckpt={weights}", "trust=[both]"])
    assert outcome.code == 0, outcome.err
    assert summary(home / "from-weights")["metrics"] == summary(trained)["metrics"]


def test_it_is_predicted_from_python(home: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    import both  # type: ignore[import-not-found]

    test = both.part(120, 1)
    network = nnrun.load(trained, trust=["both"])
    with torch.inference_mode():
        scores = network(network.preprocessing(test.inputs))
    accuracy = (scores.argmax(1) == test.targets).double().mean().item()
    assert accuracy == summary(trained)["metrics"]["test/accuracy"]
    session = onnxruntime.InferenceSession(trained / "exports/onnx/model.onnx", providers=["CPUExecutionProvider"])
    assert {node.name for node in session.get_inputs()} == {"picture", "vector"}
    (theirs,) = session.run(["scores"], {name: leaf.numpy() for name, leaf in test.inputs.items()})
    np.testing.assert_allclose(theirs, scores.numpy(), rtol=1e-4, atol=1e-4)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["nnrun.inputs"]) == {
        "picture": {"dtype": "uint8", "shape": [None, 1, 6, 6]},
        "vector": {"dtype": "float32", "shape": [None, 4]},
    }


def test_a_predictor_takes_a_dict_of_arrays(home: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the run, and of its ONNX file: as the network itself says, and in the test's order."""
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    import both  # type: ignore[import-not-found]

    test = both.part(120, 1)
    names = np.array(["left -", "left +", "right -", "right +"])
    arrays = {name: leaf.numpy() for name, leaf in test.inputs.items()}
    for path in (trained, trained / "exports/onnx/model.onnx"):
        with nnrun.predictor(path, trust=["both"]) as predictor:
            said = predictor(arrays)
        right = [row["class"] == name for row, name in zip(said, names[test.targets], strict=True)]
        assert np.mean(right) == pytest.approx(summary(trained)["metrics"]["test/accuracy"])


def test_a_prediction_of_files_says_that_it_reads_images(home: Path, trained: Path) -> None:
    for name in ("", "/exports/onnx/model.onnx"):
        words = ["task=predict", f"ckpt={trained}{name}", "input=both.py", "trust=[both]"]
        outcome = run(home, f"predicted{name.count('/')}", words)
        assert outcome.code == 2
        assert "this network takes samples of the shape {'picture': (1, 6, 6), 'vector': (4,)}" in outcome.err
