"""A loss of the user's own that takes features or inputs: trained, resumed to the same bits, evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import nnrun
from nnrun.components.data.digits import Digits
from support.command_line import run_here, write_files
from support.small_runs import WORDS, assert_same_bits, manifest, resume, stop_at, summary

pytestmark = pytest.mark.usefixtures("warm_python")

# The distance of the features from the mean of their class in the batch (after Wen et al. 2016), beside cross-entropy.
CENTER = """\
from torch import nn
from torch.nn import functional

class Center(nn.Module):
    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, outputs, targets, features):
        members = functional.one_hot(targets, outputs.shape[1]).float()
        centers = members.T @ features / members.sum(0).clamp(min=1)[:, None]
        distances = (features - centers[targets]).square().mean(1)
        return functional.cross_entropy(outputs, targets, reduction="none") + self.share * distances

class Dark(nn.Module):
    def forward(self, outputs, targets, inputs):
        weight = 1 / (1 + inputs.flatten(1).mean(1).abs())
        return weight * functional.cross_entropy(outputs, targets, reduction="none")

class Trained(Center):
    def __init__(self, share):
        super().__init__(share)
        self.centers = nn.Parameter(nn.init.zeros_(nn.Linear(2, 2).weight))
"""
FILES = {
    "center.py": CENTER,
    "conf/loss/center.yaml": "# Center.\n_target_: center.Center\nshare: 0.5\n",
    "conf/loss/dark.yaml": "# Dark.\n_target_: center.Dark\n",
    "conf/loss/trained.yaml": "# Trained.\n_target_: center.Trained\nshare: 0.5\n",
}
OPTIONS: dict[str, Sequence[str]] = {
    "plain": [],
    "ema": ["trainer.ema_decay=0.9"],
    "compiled": ["trainer.compile=true", "model.hidden=[8]"],
    "cached features": ["transfer.freeze=backbone"],
    "accumulate": ["trainer.accumulate=2"],
    "mixed": ["augment=mixup"],
    "bf16": ["trainer.precision=bf16"],
    "skip": ["trainer.nonfinite=skip"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own_loss")
    write_files(folder, FILES)
    return folder


@pytest.mark.parametrize("options", OPTIONS)
def test_a_loss_of_features_is_trained_resumed_and_evaluated(place, options):
    """Negative control: without features, or with others, the run is another."""
    words, name = [*WORDS, *OPTIONS[options], "loss=center"], options.replace(" ", "-")
    whole, run = place / f"{name}-whole", place / f"{name}-run"
    outcome = run_here([*words, f"hydra.run.dir={whole}"], place)
    assert outcome.code == 0, outcome.err
    assert ("caching the frozen backbone's features of" in outcome.out) == (options == "cached features")
    with stop_at(12):
        assert run_here([*words, f"hydra.run.dir={run}"], place).code == 143
    assert resume(run, "trust=[center]") == 0
    assert_same_bits(run, whole)
    assert run_here([f"ckpt={whole}", "loss=center", f"hydra.run.dir={name}-e"], place).code == 0
    ours, theirs = summary(place / f"{name}-e")["metrics"], summary(whole)["metrics"]
    assert ours == pytest.approx(theirs)
    outcome = run_here([*words, "loss.share=0", f"hydra.run.dir={name}-0"], place)
    assert outcome.code == 0, outcome.err
    assert manifest(place / f"{name}-0")["last"] != manifest(whole)["last"]


def test_features_are_what_goes_into_the_head(place):
    """The test's loss by hand, of a network whose head is its last layer."""
    outcome = run_here([*WORDS, "loss=center", "data.eval_batch_size=1000", "hydra.run.dir=hand"], place)
    assert outcome.code == 0, outcome.err
    network = nnrun.load(place / "hand")
    given: list[torch.Tensor] = []
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    layers[-1].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    test = Digits().load().test
    with torch.inference_mode():
        outputs = network(network.preprocessing(test.inputs))
        (features,) = given
        members = functional.one_hot(test.targets, 10).float()
        centers = members.T @ features / members.sum(0)[:, None]
        pull = (features - centers[test.targets]).square().mean(1)
        loss = functional.cross_entropy(outputs, test.targets, reduction="none") + 0.5 * pull
    assert len(test) == 360
    metrics = summary(place / "hand")["metrics"]
    subset = run_here(["ckpt=hand", "loss=center", "data.limit=null", "hydra.run.dir=all"], place)
    assert subset.code == 0, subset.err
    assert summary(place / "all")["metrics"]["test/loss"] == pytest.approx(loss.mean().item(), rel=1e-4)
    assert metrics["test/loss"] > 0


def test_a_loss_of_inputs_is_trained_and_keeps_the_backbone_from_being_cached(place):
    outcome = run_here([*WORDS, "loss=dark", "transfer.freeze=backbone", "hydra.run.dir=dark"], place)
    assert outcome.code == 0, outcome.err
    assert "not caching the frozen backbone's features: the loss takes the network's input" in outcome.out
    refused = run_here([*WORDS, "loss=dark", "transfer.freeze=backbone", "transfer.cache=true"], place)
    assert refused.code == 2
    assert "transfer.cache=true is not possible here: the loss takes the network's input" in refused.err


def test_a_loss_with_parameters_that_nothing_trains_is_refused(place):
    outcome = run_here([*WORDS, "loss=trained"], place)
    assert outcome.code == 2
    assert "loss: center.Trained has trainable parameters (centers), which no optimizer updates" in outcome.err


def test_a_head_may_be_named(place):
    """Negative control: without a loss that takes features, nothing asks for the head."""
    outcome = run_here([*WORDS, "loss=center", "transfer.head=hidden.0", "hydra.run.dir=named"], place)
    assert outcome.code == 0, outcome.err
    refused = run_here([*WORDS, "transfer.head=hidden.0"], place)
    assert (refused.code, "transfer.head=hidden.0 has no effect" in refused.err) == (2, True)
    refused = run_here([*WORDS, "loss=center", "transfer.head=nowhere"], place)
    assert (refused.code, "transfer.head=nowhere is not a layer of the network" in refused.err) == (2, True)


def test_the_network_is_exported_without_a_trace_of_it(place):
    words = [word for word in WORDS if not word.startswith("export=")]
    outcome = run_here([*words, "loss=center", "export=[onnx,torchscript]", "hydra.run.dir=x"], place)
    assert outcome.code == 0, outcome.err
    assert all(artifact["ok"] for artifact in summary(place / "x")["artifacts"].values())


PAIR = """\
from math import prod
from torch import nn
from torch.nn import functional

class Pair(nn.Module):
    \"\"\"Scores, and features that are not what goes into the last layer made.\"\"\"

    def __init__(self, in_shape, num_outputs, as_dict):
        super().__init__()
        self.as_dict = as_dict
        self.last, self.first = nn.Linear(16, num_outputs), nn.Linear(prod(in_shape), 16)

    def forward(self, inputs):
        hidden = self.first(inputs.flatten(1)).relu()
        scores, features = self.last(hidden), functional.normalize(hidden)
        return {"scores": scores, "features": features} if self.as_dict else (scores, features)
"""
PAIR_FILES = {
    "pair.py": PAIR,
    "conf/model/pair.yaml": "# A pair.\n_target_: pair.Pair\nin_shape: ${data.in_shape}\n"
    "num_outputs: ${data.num_outputs}\nas_dict: false\n",
    "conf/loss/torchs.yaml": "# Torch's.\n_target_: torch.nn.CrossEntropyLoss\nweight: [1,1,1,1,1,1,1,1,1,3]\n",
}


@pytest.fixture(scope="module")
def paired(place: Path) -> Path:
    """A run of a network that gives a pair, exported; its last layer is made first, and is not found as the head."""
    write_files(place, PAIR_FILES)
    words = [word for word in WORDS if not word.startswith(("model=", "export="))]
    for name, more in {"pair": ["export=[onnx,torchscript,pt2,safetensors]"], "dict": ["model.as_dict=true"]}.items():
        outcome = run_here([*words, "model=pair", "loss=center", *more, f"hydra.run.dir={name}"], place)
        assert outcome.code == 0, outcome.err
    return place


def test_a_network_gives_features_beside_its_scores(paired: Path) -> None:
    """As a dict it is the same run. Negative control: what goes into the last layer is not normalized."""
    metrics = summary(paired / "pair")["metrics"]
    assert metrics == summary(paired / "dict")["metrics"]
    rows = summary(paired / "pair")["artifacts"]
    assert rows.keys() == {"onnx", "torchscript", "pt2", "safetensors"} and all(row["ok"] for row in rows.values())
    words = [word for word in WORDS if not word.startswith("model=")]
    named = run_here([*words, "model=pair", "loss=torchs", "hydra.run.dir=plain"], paired)
    assert named.code == 0, named.err
    assert summary(paired / "plain")["metrics"]["test/loss"] != metrics["test/loss"]
    again = run_here(["ckpt=pair", "trust=[center,pair]", "hydra.run.dir=pair-e"], paired)
    assert again.code == 0, again.err
    assert summary(paired / "pair-e")["metrics"] == pytest.approx(metrics)


def test_such_a_network_is_resumed_to_the_same_bits_and_predicts(paired: Path) -> None:
    words = [word for word in WORDS if not word.startswith(("model=", "export="))]
    run = [*words, "model=pair", "model.as_dict=true", "loss=center"]
    with stop_at(12):
        assert run_here([*run, "hydra.run.dir=stopped"], paired).code == 143
    assert resume(paired / "stopped", "trust=[center,pair]") == 0
    assert_same_bits(paired / "stopped", paired / "dict")
    predictor = nnrun.predictor(paired / "pair", trust=["center", "pair"])
    test = Digits().load().test
    network = nnrun.load(paired / "pair", trust=["pair"])
    scores, features = network(network.preprocessing(test.inputs[:5]))
    assert features.shape == (5, 16)
    predicted = predictor(test.inputs[:5].numpy())
    assert [item["class"] for item in predicted] == [str(index) for index in scores.argmax(1).tolist()]


def test_a_loss_of_torchs_is_trained_and_resumed_without_trust(place: Path) -> None:
    write_files(place, PAIR_FILES)
    words = [*WORDS, "loss=torchs"]
    assert run_here([*words, "hydra.run.dir=torchs"], place).code == 0
    with stop_at(12):
        assert run_here([*words, "hydra.run.dir=torchs-run"], place).code == 143
    assert resume(place / "torchs-run") == 0
    assert_same_bits(place / "torchs-run", place / "torchs")
    assert run_here(["ckpt=torchs", "hydra.run.dir=torchs-e"], place).code == 0
    assert summary(place / "torchs-e")["metrics"] == pytest.approx(summary(place / "torchs")["metrics"])
