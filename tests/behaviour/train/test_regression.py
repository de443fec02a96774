"""Values, end to end: trained standardized, resumed to the same bits, evaluated in their own units."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

import nnrun
from support.command_line import run_here
from support.pictures import valued
from support.small_runs import assert_same_bits, manifest, resume, stop_at, summary

WORDS = (
    "data=arrays",
    "data.root=pictures.npz",
    "model=mlp",
    "data.batch_size=30",
    "data.eval_batch_size=16",
    "data.val_fraction=0.25",
    "trainer.epochs=6",
    "trainer.log_every_steps=2",
    "trainer.progress=false",
    "optimizer.lr=3e-3",
    "export=none",
)


def write(path: Path, num_values: int = 2, shift: float = 0.0, scale: float = 1.0) -> None:
    (x, y), (x_test, y_test) = valued(400, num_values), valued(150, num_values, seed=1)
    y, y_test = (scale * values.astype(np.float64) + shift for values in (y, y_test))
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression")
    write(folder / "pictures.npz")
    outcome = run_here([*WORDS, "hydra.run.dir=whole"], folder)
    assert outcome.code == 0, outcome.err
    return folder


def saved(run: Path, which: str = "best") -> dict:
    return torch.load(run / "checkpoints" / manifest(run)[which], weights_only=True)


def predicted(run: Path, x: np.ndarray) -> np.ndarray:
    """The values that the network of a run predicts, in the data's units as nnrun.load gives them."""
    network = nnrun.load(run)
    with torch.inference_mode():
        return network(network.preprocessing(torch.from_numpy(x)[:, None])).double().numpy()


def test_what_is_learned_follows_from_the_data_and_is_saved_as_it_became(place):
    config = saved(place / "whole")["config"]
    assert config["problem"]["_target_"].endswith("Regression")
    assert config["loss"]["_target_"].endswith("SquaredError")
    assert (config["data"]["num_outputs"], config["data"]["num_classes"]) == (2, None)


def test_the_metrics_of_the_test_are_scikit_learns_in_the_data_s_units(place):
    """Two values in units that differ by five orders of magnitude count alike in the loss, and both are learned."""
    x, y = valued(150, seed=1)
    ours, metrics = predicted(place / "whole", x), summary(place / "whole")["metrics"]
    assert metrics["test/mse"] == pytest.approx(mean_squared_error(y, ours), rel=1e-3)
    assert metrics["test/mae"] == pytest.approx(mean_absolute_error(y, ours), rel=1e-3)
    assert metrics["test/r2"] == pytest.approx(r2_score(y, ours), abs=1e-4)
    rows = summary(place / "whole")["details"]["test"]["per_target"]
    assert [row["r2"] for row in rows] == pytest.approx(r2_score(y, ours, multioutput="raw_values"), abs=1e-4)
    assert min(row["r2"] for row in rows) > 0.8


def test_beside_the_metric_to_quote_stands_what_the_mean_of_the_training_part_reaches(place):
    y_test = valued(150, 2, seed=1)[1].astype(np.float64)
    seen = saved(place / "whole")["problem"]
    baseline = summary(place / "whole")["details"]["test"]["baseline"]
    assert baseline == pytest.approx(r2_score(y_test, np.tile(seen["mean"], (150, 1))), abs=1e-4)
    assert (
        f"baseline     r2 {baseline:.4f} by the best constant prediction" in (place / "whole" / "run.log").read_text()
    )
    train = saved(place / "whole")["problem"]
    assert train["mean"] == pytest.approx([1025, -0.0015], rel=0.05)


@pytest.mark.parametrize("poll", [5, 18, 30])
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(place, poll):
    run = place / f"stopped{poll}"
    with stop_at(poll):
        assert run_here([*WORDS, f"hydra.run.dir={run}"], place).code == 143
    assert resume(run) == 0
    assert_same_bits(run, place / "whole")


def test_an_evaluation_standardises_as_the_training_did(place):
    """Also on other data. Negative control: standardized by these, their error would look as small as at home."""
    assert run_here(["ckpt=whole", "hydra.run.dir=e"], place).code == 0
    assert summary(place / "e")["metrics"] == pytest.approx(summary(place / "whole")["metrics"])
    x, y = valued(90, seed=5)
    np.savez(place / "other.npz", x=x, y=y + np.array([25.0, 0.0], dtype=np.float32))
    outcome = run_here(["ckpt=whole", "data.root=other.npz", "hydra.run.dir=o"], place)
    assert outcome.code == 0, outcome.err
    assert summary(place / "o")["metrics"]["test/mae"] == pytest.approx(12.5, rel=0.1)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_each_loss_learns_one_value(tmp_path, loss):
    write(tmp_path / "pictures.npz", num_values=1)
    outcome = run_here([*WORDS, f"loss={loss}", "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert summary(tmp_path / "r")["metrics"]["test/r2"] > 0.8
    assert saved(tmp_path / "r")["config"]["data"]["num_outputs"] == 1


@pytest.mark.parametrize(("scale", "shift"), [(1e4, 1e9), (1e-9, 0.0), (1e12, 0.0)])
def test_values_of_any_size_are_learned_as_well(tmp_path, scale, shift):
    """Negative control: in fp32, without their mean, values of 1e10 have a squared error that says nothing."""
    write(tmp_path / "pictures.npz", num_values=1, scale=scale, shift=shift)
    outcome = run_here([*WORDS, "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 0, outcome.err
    metrics = summary(tmp_path / "r")["metrics"]
    assert metrics["test/r2"] > 0.8
    x, y = valued(150, 1, seed=1)
    y = (scale * y.astype(np.float64) + shift).astype(np.float32).astype(np.float64)
    assert metrics["test/mae"] == pytest.approx(mean_absolute_error(y, predicted(tmp_path / "r", x)), rel=1e-2)


def test_a_value_that_never_changes_is_said_and_learned(tmp_path):
    (x, y), (x_test, y_test) = valued(400), valued(150, seed=1)
    y[:, 1] = y_test[:, 1] = 7
    np.savez(tmp_path / "pictures.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    outcome = run_here([*WORDS, "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert "value_1 is 7 in all training samples: there is nothing to learn" in outcome.out
    assert saved(tmp_path / "r")["problem"]["deviation"][1] == 1


def test_a_network_whose_output_is_squeezed_is_refused(tmp_path):
    """Negative control: as a column it is taken."""
    write(tmp_path / "pictures.npz", num_values=1)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, squeezed):\n        super().__init__()\n"
        "        self.squeezed = squeezed\n        self.layer = nn.Linear(144, 1)\n    def forward(self, x):\n"
        "        y = self.layer(x.flatten(1))\n        return y[:, 0] if self.squeezed else y\n"
    )
    (tmp_path / "conf/model/net.yaml").write_text("_target_: net.Net\nsqueezed: true\n")
    words = [word for word in WORDS if not word.startswith("model=")] + ["model=net"]
    outcome = run_here([*words, "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 2
    assert (
        "model returns (30,) for a batch of 30 samples; allowed: a number for each of the 1 value, (30, 1)"
        in outcome.err
    )
    assert "remove a squeeze() after its last layer" in outcome.err
    assert run_here([*words, "model.squeezed=false", "hydra.run.dir=s"], tmp_path).code == 0


def test_mixed_samples_are_learned_from(place):
    outcome = run_here([*WORDS, "augment=[mixup,cutmix]", "hydra.run.dir=m"], place)
    assert outcome.code == 0, outcome.err
    assert summary(place / "m")["metrics"]["test/r2"] > 0.5


def no_nan(word):
    raise AssertionError(f"{word} is no JSON")


def test_one_sample_of_which_there_is_no_r2_is_said_in_plain_json(tmp_path):
    """R2 needs two samples: of a validation part and a test of one there is none, in any file or line."""
    (x, y), (x_test, y_test) = valued(200, 1), valued(1, 1, seed=1)
    np.savez(tmp_path / "pictures.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    words = [*WORDS[:-1], "export=onnx", "hydra.run.dir=run", "data.val_fraction=0.005", "trainer.epochs=2"]
    done = run_here([*words, "early_stopping.monitor=valid/r2"], tmp_path)
    assert done.code == 0, done.err
    assert "valid/r2 was NaN in every validation, so no weights are the best by it" in done.out
    run = tmp_path / "run"
    metrics = json.loads((run / "summary.json").read_text(), parse_constant=no_nan)["metrics"]
    assert metrics["valid/r2"] is metrics["test/r2"] is None
    rows = [json.loads(line, parse_constant=no_nan) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["r2"] for row in rows if row["split"] != "train"] == [None, None, None]
    assert "of 1 sample agree" in done.out
