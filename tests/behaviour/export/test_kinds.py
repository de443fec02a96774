"""Artifacts of networks that have learned labels or values: what they give and say, how they are proven, refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score, r2_score
from torch import Tensor, nn

from nnrun.base.targets import Targets
from nnrun.components.exporters.onnx import OnnxExporter
from nnrun.components.problems.classification import Classification
from nnrun.components.problems.multilabel import Multilabel
from nnrun.components.problems.regression import Regression
from nnrun.core.seams.data import Split
from nnrun.core.seams.export import ExportContext
from nnrun.core.seams.problem import Problem
from nnrun.proof.verdict import Verification
from nnrun.proof.verify import Standard
from nnrun.tasks.export.exports import _export_one
from support.command_line import run_here, write_files
from support.options import option_sections, target_and_parameters
from support.pictures import labelled, valued
from support.small_runs import manifest, summary

pytestmark = pytest.mark.usefixtures("warm_python")

FORMATS = ("onnx", "onnx_int8", "torchscript", "pt2", "safetensors")
WORDS = (
    *("data=arrays", "data.root=pictures.npz", "model=mlp", "data.batch_size=30", "data.val_fraction=0.25"),
    *("trainer.epochs=8", "optimizer.lr=3e-3", "trainer.progress=false", f"export=[{','.join(FORMATS)}]"),
)
MAKE = {"labels": labelled, "values": valued}
HEADLINES = {"labels": "f1_macro", "values": "r2"}


@pytest.fixture(scope="module", params=["labels", "values"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(kind)
    (x, y), (x_test, y_test) = MAKE[kind](400), MAKE[kind](150, seed=1)
    np.savez(folder / "pictures.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    outcome = run_here([*WORDS, "hydra.run.dir=run"], folder)
    assert outcome.code == 0, outcome.err
    return folder / "run"


def metadata(path: Path) -> dict[str, str]:
    return {entry.key.removeprefix("nnrun."): entry.value for entry in onnx.load(path).metadata_props}


def fitted(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / manifest(run)["best"], weights_only=True)["problem"]


def test_every_format_is_proven_by_the_metric_to_quote(kind: str, run: Path) -> None:
    metrics, artifacts = summary(run)["metrics"], summary(run)["artifacts"]
    assert metrics[f"test/{HEADLINES[kind]}"] > 0.5
    assert list(artifacts) == list(FORMATS)
    for name, row in artifacts.items():
        assert row["ok"], row["reason"]
        assert row["metric"] == HEADLINES[kind]
        assert row["metric_eager"] == pytest.approx(metrics[f"test/{HEADLINES[kind]}"], abs=1e-6)
        assert row["metric_artifact"] == pytest.approx(row["metric_eager"], abs=0.01 if name == "onnx_int8" else 1e-5)
        assert row["min_agreement"] == {"onnx_int8": 0.0, "safetensors": 1.0}.get(name, 0.999)
        assert row["max_drop"] == (0.01 if name == "onnx_int8" else None)


def test_an_onnx_file_gives_what_its_metadata_say(kind: str, run: Path) -> None:
    """Read as somebody would who has only onnxruntime and numpy."""
    path = run / "exports/onnx/model.onnx"
    said, (x, y) = metadata(path), MAKE[kind](150, seed=1)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"input": x[:, None]})
    problem, metrics = json.loads(said["problem"]), summary(run)["metrics"]
    assert json.loads(said["targets"])["kind"] == kind
    assert "class_names" not in said
    assert "test_accuracy" not in said
    assert float(said[f"test_{said['metric']}"]) == pytest.approx(metrics[f"test/{HEADLINES[kind]}"], abs=1e-6)
    assert problem["state"] == fitted(run)
    if kind == "labels":
        given = 1 / (1 + np.exp(-scores)) >= np.array(problem["state"]["thresholds"])
        assert f1_score(y, given, average="macro") == pytest.approx(metrics["test/f1_macro"], abs=1e-6)
        assert said["output"] == "label scores before the sigmoid (logits), float32, (N, labels)"
    else:
        assert r2_score(y, scores) == pytest.approx(metrics["test/r2"], abs=1e-5)
        assert abs(scores[:, 0].mean() - 1025) < 5, "in the data's own units"
        assert said["output"] == "values in the units of the data, float32, (N, 2)"


def test_weights_with_their_card_are_evaluated_as_the_run_is(kind: str, run: Path) -> None:
    card = json.loads((run / "exports/safetensors/model.json").read_text())
    assert (card["targets"]["kind"], card["problem"], "class_names" in card) == (kind, fitted(run), False)
    assert card["output"].startswith("label scores" if kind == "labels" else "the network's own outputs; its problem")
    words = [f"ckpt={run}/exports/safetensors/model.safetensors", f"hydra.run.dir={run.parent}/from-weights"]
    outcome = run_here(words, run.parent)
    assert outcome.code == 0, outcome.err
    ours, theirs = (summary(folder)["metrics"] for folder in (run, run.parent / "from-weights"))
    assert {key: theirs[key] for key in theirs if key.startswith("test/")} == {
        key: ours[key] for key in ours if key.startswith("test/")
    }


def predictions(run: Path, ckpt: str, name: str) -> list[list[str]]:
    words = ["task=predict", f"ckpt={ckpt}", "input=seen.png", f"hydra.run.dir={run.parent}/{name}"]
    outcome = run_here(words, run.parent)
    assert outcome.code == 0, outcome.err
    return list(csv.reader((run.parent / name / "predictions.csv").read_text().splitlines()))


def test_a_file_is_predicted_by_an_onnx_file_as_by_the_run(kind: str, run: Path) -> None:
    Image.fromarray(MAKE[kind](150, seed=1)[0][0]).save(run.parent / "seen.png")
    (titles, ours), (their_titles, theirs) = (
        predictions(run, str(ckpt), name)
        for ckpt, name in ((run, "by-run"), (run / "exports/onnx/model.onnx", "by-onnx"))
    )
    assert titles == their_titles
    for left, right in zip(ours, theirs, strict=True):
        assert left == right or float(left) == pytest.approx(float(right), rel=1e-4, abs=1e-5)


def test_what_cannot_be_had_of_values_is_refused_and_the_others_are_exported(kind: str, run: Path) -> None:
    words = [f"ckpt={run}", "export=[onnx,torchserve,pt2]", "export.onnx.output=probabilities"]
    outcome = run_here([*words, f"hydra.run.dir={run.parent}/refused"], run.parent)
    artifacts = summary(run.parent / "refused")["artifacts"]
    assert outcome.code == 4
    assert (
        f"torchserve needs classes, but the targets are {'3 labels' if kind == 'labels' else '2 values'}" in outcome.err
    )
    assert artifacts["pt2"]["ok"]
    if kind == "labels":
        assert artifacts["onnx"]["ok"]
        session = onnxruntime.InferenceSession(run.parent / "refused/exports/onnx/model.onnx")
        (found,) = session.run(["probabilities"], {"input": labelled(150, seed=1)[0][:, None]})
        assert 0 <= found.min() < found.max() <= 1
        assert not np.allclose(found.sum(1), 1), "each label for itself"
    else:
        assert artifacts["onnx"]["reason"] == (
            "it cannot be exported: values have no probabilities; set output=scores for this format"
        )


def test_a_test_split_too_small_for_its_metric_is_exported_all_the_same(tmp_path: Path) -> None:
    (x, y), (x_test, y_test) = valued(60, 1), valued(1, 1, seed=1)
    np.savez(tmp_path / "pictures.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    outcome = run_here([*WORDS[:-1], "trainer.epochs=1", "export=[onnx,safetensors]", "hydra.run.dir=run"], tmp_path)
    assert outcome.code == 0, outcome.err
    for file in ("exports/onnx/verification.json", "exports/safetensors/model.json"):
        text = (tmp_path / "run" / file).read_text()
        said = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert said["metric"] == "r2"
        assert said.get("metric_eager", said.get("test_r2")) is None


OWN = {
    "logs.py": """\
import torch
from nnrun.components.problems.regression import Regression
from torch import nn


class Exponential(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, outputs):
        return torch.pow(self.base, outputs)


class Logs(Regression):
    def __init__(self, targets, base):
        super().__init__(targets)
        self.base = base

    def learned(self, targets):
        return targets.log() / torch.tensor(self.base).log()

    def scores(self, outputs):
        return torch.pow(self.base, outputs)

    def final_layer(self, output):
        return Exponential(self.base)

    def fit_targets(self, targets):
        super().fit_targets(targets)
        return []
""",
    "conf/problem/logs.yaml": """\
# Positive values, learned as logarithms.
#   nnrun problem=logs
_target_: logs.Logs
base: 10.0
""",
}


def test_a_problem_of_ones_own_is_exported_proven_and_predicted_with(tmp_path: Path) -> None:
    """Negative control: without trust= its class is not taken from an ONNX file."""
    write_files(tmp_path, OWN)
    (x, y), (x_test, y_test) = valued(400, 1), valued(150, 1, seed=1)
    np.savez(tmp_path / "pictures.npz", x_train=x, y_train=y / 1000, x_test=x_test, y_test=y_test / 1000)
    Image.fromarray(x_test[0]).save(tmp_path / "seen.png")
    outcome = run_here(
        [*WORDS[:-1], "problem=logs", "loss=mse", "export=[onnx,torchscript]", "hydra.run.dir=run"], tmp_path
    )
    assert outcome.code == 0, outcome.err
    assert all(row["ok"] for row in summary(tmp_path / "run")["artifacts"].values())
    path = "run/exports/onnx/model.onnx"
    assert json.loads(metadata(tmp_path / path)["problem"])["_target_"] == "logs.Logs"
    words = ["task=predict", f"ckpt={path}", "input=seen.png"]
    outcome = run_here([*words, "hydra.run.dir=believed", "trust=[logs]"], tmp_path)
    assert outcome.code == 0, outcome.err
    (_, (_, value)) = csv.reader((tmp_path / "believed/predictions.csv").read_text().splitlines())
    session = onnxruntime.InferenceSession(tmp_path / path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"input": x_test[:1, None]})
    assert float(value) == pytest.approx(scores.item(), rel=1e-5)
    assert float(value) == pytest.approx(y_test[0].item() / 1000, abs=0.1)
    outcome = run_here([*words, "hydra.run.dir=not-believed"], tmp_path)
    assert (outcome.code, "problem._target_ is 'logs.Logs', which nnrun does not ship" in outcome.err) == (
        4,
        True,
    )


# Artifacts that are wrong in what their problem adds.


def standard_of(problem: Problem) -> Standard:
    torch.manual_seed(0)
    network = nn.Linear(4, problem.targets.num_outputs).eval()
    inputs = torch.randn(700, 4)
    with torch.no_grad():
        predicted = problem.predictions(problem.scores(network(inputs)))
    targets = (predicted > 0.5).float() if problem.kind == "labels" else predicted
    return Standard(network, AsTheyAre(), problem, Split(inputs, targets))


class AsTheyAre:
    """A preprocessing that changes nothing."""

    def __call__(self, raw: Tensor) -> Tensor:
        return raw

    def to_plain(self) -> dict[str, Any]:
        return {"_target_": "mine.AsTheyAre"}


def regression() -> Regression:
    problem = Regression(Targets.values("ab"))
    problem.load_state_dict({"mean": [1000.0, -0.002], "deviation": [50.0, 0.001]})
    return problem


def multilabel(thresholds: list[float]) -> Multilabel:
    problem = Multilabel(Targets.labels("ab"))
    problem.load_state_dict({"thresholds": thresholds})
    return problem


def prove(standard: Standard, told: Problem, folder: Path, exporter: Any = None) -> Verification:
    """Prove an ONNX file whose exporter was told of another problem than the one that it is held against."""
    exporter = exporter or OnnxExporter(None, True, "scores", 1e-3, 0.999)
    inputs = standard.test.inputs
    context = ExportContext(inputs[:4], told, standard.preprocessing, "a_run", 0.5, lambda number: inputs[:number], {})
    return _export_one(exporter, standard, context, folder)[1]


def test_values_that_are_not_put_back_are_caught(tmp_path: Path) -> None:
    standard = standard_of(regression())
    (tmp_path / "right").mkdir()
    assert prove(standard, regression(), tmp_path / "right").ok, "the negative control"
    proof = prove(standard, Regression(Targets.values("ab")), tmp_path)
    assert not proof.ok
    assert str(proof.reason).startswith("its metadata says that its problem was fitted to {")


def test_one_small_value_that_is_wrong_beside_a_large_one_is_caught(tmp_path: Path) -> None:
    """Its differences are far below the tolerance, which goes by the largest score."""

    class LosesTheSecond(OnnxExporter):
        def export(self, model: nn.Module, context: ExportContext, folder: Path) -> Path:
            class Wrong(nn.Module):
                def forward(self, inputs: Tensor) -> Tensor:
                    return model(inputs) * torch.tensor([1.0, 0.5])

            return super().export(Wrong(), context, folder)

    exporter = LosesTheSecond(None, True, "scores", 1e-3, 0.999)
    proof = prove(standard_of(regression()), regression(), tmp_path, exporter)
    assert not proof.ok
    assert "of the predictions agree, fewer than" in str(proof.reason)
    assert proof.worst[0]["predictions_eager"]["b"] != proof.worst[0]["predictions_artifact"]["b"]


def test_other_thresholds_and_other_names_are_caught(tmp_path: Path) -> None:
    standard = standard_of(multilabel([0.3, 0.7]))
    (tmp_path / "right").mkdir()
    assert prove(standard, multilabel([0.3, 0.7]), tmp_path / "right").ok, "the negative control"
    proof = prove(standard, multilabel([0.7, 0.3]), tmp_path)
    assert proof.reason == (
        'its metadata says that its problem was fitted to {"thresholds": [0.7, 0.3]}, '
        'but it was fitted to {"thresholds": [0.3, 0.7]}'
    )
    swapped = Multilabel(Targets.labels("ba"))
    swapped.load_state_dict({"thresholds": [0.3, 0.7]})
    assert prove(standard, swapped, tmp_path).reason == 'it names the labels ["b", "a"], but they are ["a", "b"]'


def test_int8_is_not_judged_by_a_metric_that_is_no_number(tmp_path: Path) -> None:
    """No sample has a label and none is given one: there is no F1."""
    standard = standard_of(multilabel([0.999, 0.999]))
    standard.test.targets.zero_()
    cls, parameters = target_and_parameters(option_sections("export")["onnx_int8"])
    proof = prove(standard, multilabel([0.999, 0.999]), tmp_path, cls(**parameters))
    assert proof.reason == "f1_macro of its network is NaN on the test split, so the artifact cannot be verified"
    json.dumps(proof.to_json(), allow_nan=False)
    (tmp_path / "typed").mkdir()
    typed = cls(**parameters | {"min_agreement": 1.0})
    assert (
        prove(standard_of(multilabel([0.5, 0.5])), multilabel([0.5, 0.5]), tmp_path / "typed", typed).min_agreement == 1
    )


@pytest.mark.parametrize("kind", ["values"], indirect=True, scope="module")
def test_a_value_that_is_infinite_is_no_prediction(run: Path, kind: str, tmp_path: Path) -> None:
    """Negative control: as it was exported, the file predicts, as above."""
    model = onnx.load(run / "exports/onnx/model.onnx")
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
    found = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full_like(found, 3e38), weight.name))
    (tmp_path / "network.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(MAKE[kind](1)[0][0]).save(tmp_path / "seen.png")
    outcome = run_here(["task=predict", "ckpt=network.onnx", "input=seen.png", "hydra.run.dir=p"], tmp_path)
    assert (outcome.code, "returns NaN or infinite scores for seen.png" in outcome.err) == (4, True), outcome.err


CARDS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "too few thresholds": (
        lambda card: card.update(problem={"thresholds": [0.5]}),
        "the state of its problem is invalid: thresholds must be",
    ),
    "NaN": (
        lambda card: card.update(problem={"thresholds": [0.5, float("nan"), 0.5]}),
        "the state of its problem is invalid: thresholds must be",
    ),
    "a list": (lambda card: card.update(problem=[0.5]), "is not a valid model card of nnrun"),
    "class names": (
        lambda card: card.update(class_names=["a", "b", "c"]),
        "its targets and its class_names have different names",
    ),
    "no targets": (lambda card: card.pop("targets"), "class_names is refused"),
    "a stranger's problem": (
        lambda card: card["config"]["problem"].update(_target_="os.system"),
        "problem._target_ is 'os.system', which nnrun does not ship for this purpose",
    ),
}


@pytest.mark.parametrize(("kind", "name"), [("labels", name) for name in CARDS], indirect=["kind"], scope="module")
def test_what_a_strangers_model_card_says_of_its_problem_is_checked(kind: str, name: str, run: Path) -> None:
    """Negative control: unchanged, the weights are evaluated, as above."""
    change, says = CARDS[name]
    folder = run.parent / f"card {name}".replace(" ", "-")
    folder.mkdir()
    for path in (run / "exports/safetensors").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))
    outcome = run_here([f"ckpt={folder}/model.safetensors", f"hydra.run.dir={folder}/run"], run.parent)
    assert (outcome.code, says in outcome.err) == (4, True), outcome.err


# What a stranger's ONNX file may say.


def said(key: str, change: Callable[[Any], Any]) -> Callable[[dict[str, str]], None]:
    """Change one thing that a file says of itself, as JSON."""

    def changed(facts: dict[str, str]) -> None:
        facts[key] = json.dumps(change(json.loads(facts[key])))

    return changed


def with_state(**state: Any) -> Callable[[dict[str, str]], None]:
    return said("problem", lambda problem: {**problem, "state": state})


def naming(target: str) -> Callable[[dict[str, str]], None]:
    return said("problem", lambda problem: {**problem, "_target_": target})


CLASSIFICATION = f"{Classification.__module__}.{Classification.__qualname__}"
HOSTILE: dict[str, tuple[Callable[[dict[str, str]], None], str]] = {
    "too few thresholds": (with_state(thresholds=[0.5]), "thresholds must be"),
    "NaN": (with_state(thresholds=[0.5, float("nan"), 0.5]), "thresholds must be"),
    "beyond 1": (with_state(thresholds=[0.5, 7.0, 0.5]), "thresholds must be"),
    "no numbers": (with_state(thresholds=["a", "b", "c"]), "thresholds must be"),
    "no thresholds": (with_state(), "the state of its problem is invalid"),
    "no state": (
        said("problem", lambda problem: {**problem, "state": [1]}),
        "the state of its nnrun.problem is not an object",
    ),
    "a command": (naming("os.system"), "problem._target_ is 'os.system', which nnrun does not ship for this purpose"),
    "another class of ours": (naming("nnrun.proof.isolated.Isolated"), "which nnrun does not ship for this purpose"),
    "the seam": (naming("nnrun.core.seams.problem.Problem"), "which nnrun does not ship for this purpose"),
    "another kind": (naming(CLASSIFICATION), "its problem is for classes, but it has 3 labels"),
    "a parameter": (said("problem", lambda problem: {**problem, "more": 1}), "more"),
    "a resolver": (said("problem", lambda problem: {**problem, "more": "${oc.env:HOME}"}), "would be interpolated"),
    "no problem": (lambda facts: facts.pop("problem") and None, "it was trained on labels, but names no nnrun.problem"),
    "an unknown kind": (said("targets", lambda targets: {**targets, "kind": "ranks"}), "unknown kind 'ranks'"),
    "too few labels": (
        said("targets", lambda targets: {**targets, "names": targets["names"][:2]}),
        "thresholds must be",
    ),
    "class names": (lambda facts: facts.update(class_names='["a", "b", "c"]'), "class_names have different names"),
    "no targets": (lambda facts: facts.pop("targets") and None, "was not exported by nnrun"),
    "broken": (lambda facts: facts.update(problem="{"), "its nnrun.problem is not JSON"),
    "nested": (lambda facts: facts.update(problem="[" * 5000 + "]" * 5000), "is"),
    "long": (lambda facts: facts.update(problem=" " * 4_000_001), "nnrun.problem has 4,000,001 characters"),
    "many": (with_state(thresholds=[0.5] * 30_000), "nested too deep or too large"),
    "other inputs": (
        said("inputs", lambda inputs: {"other": inputs["input"]}),
        "it takes the inputs input, but its metadata names other",
    ),
    "no inputs": (lambda facts: facts.update(inputs="[]"), "its nnrun.inputs name no tensors"),
}
OF_VALUES: dict[str, tuple[Callable[[dict[str, str]], None], str]] = {
    "no deviation": (with_state(mean=[0.0, 0.0], deviation=[0.0, 1.0]), "a deviation must be above 0"),
    "infinite": (with_state(mean=[0.0, float("inf")], deviation=[1.0, 1.0]), "must be a number for each"),
    "probabilities": (
        lambda facts: facts.update(output_kind="probabilities"),
        "claims to return probabilities, but values have none",
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("labels", name) for name in HOSTILE), *(("values", name) for name in OF_VALUES)],
    indirect=["kind"],
    scope="module",
)
def test_what_a_strangers_file_says_of_its_problem_is_checked(name: str, kind: str, run: Path, tmp_path: Path) -> None:
    """Negative control: unchanged, the file predicts, as above."""
    change, says = (HOSTILE | OF_VALUES)[name]
    model = onnx.load(run / "exports/onnx/model.onnx")
    facts = {entry.key.removeprefix("nnrun."): entry.value for entry in model.metadata_props}
    change(facts)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {f"nnrun.{key}": value for key, value in facts.items()})
    (tmp_path / "network.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(MAKE[kind](1)[0][0]).save(tmp_path / "seen.png")
    outcome = run_here(["task=predict", "ckpt=network.onnx", "input=seen.png", "hydra.run.dir=p"], tmp_path)
    assert (outcome.code, says in outcome.err) == (4, True), outcome.err
    assert not (tmp_path / "p" / "predictions.csv").exists()
