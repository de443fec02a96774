"""Exported artifacts: what they take and give, and that a wrong one is never called good."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import nnrun
from nnrun.cli import main
from nnrun.components.data.digits import MEAN, STD, Digits
from nnrun.components.exporters.onnx import OnnxExporter

pytestmark = pytest.mark.usefixtures("warm_python")

WORDS = ("data.limit=300", "data.batch_size=32", "trainer.epochs=4", "trainer.progress=false")
MODELS = {
    "mlp": ["model=mlp"],
    "cnn": ["model=cnn", "model.channels=[4,8]", "model.hidden=16", "optimizer.lr=1e-2"],
}


def run_nnrun(folder: Path, *words: str) -> int:
    with contextlib.chdir(folder):
        return main(words)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One trained and exported run for each network."""
    folder = tmp_path_factory.mktemp("runs")
    for name, words in MODELS.items():
        assert run_nnrun(folder, *WORDS, *words, f"hydra.run.dir={folder / name}") == 0
    return folder


@pytest.fixture(params=MODELS)
def run(runs, request):
    return runs / request.param


@pytest.fixture(scope="module")
def test_split():
    return Digits().load().test


def read(path: Path) -> dict:
    return json.loads(path.read_text())


# It may know nothing of torch or of nnrun: this is what stands on a server.
SERVE = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
pixels = numpy.load(sys.argv[2])
scores, start = [], 0
for size in (1, 3, 97):
    scores.append(session.run(["scores"], {"input": pixels[start : start + size]})[0])
    start += size
numpy.save(sys.argv[3], numpy.concatenate(scores))
assert not {"torch", "nnrun", "onnx"} & set(sys.modules)
"""


def test_the_file_runs_on_onnxruntime_and_numpy_alone_and_agrees_with_the_network(run, test_split, tmp_path):
    raw = test_split.inputs[:101]
    assert raw.dtype == torch.uint8
    np.save(tmp_path / "pixels.npy", raw.numpy())
    # A lone copy: one file, with nothing beside it.
    alone = tmp_path / "alone" / "m.onnx"
    alone.parent.mkdir()
    alone.write_bytes((run / "exports/onnx/model.onnx").read_bytes())
    paths = [str(alone), str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")]
    subprocess.run([sys.executable, "-I", "-c", SERVE, *paths], check=True, cwd=alone.parent)
    scores = torch.from_numpy(np.load(tmp_path / "scores.npy"))
    network = nnrun.load(run)
    with torch.no_grad():
        expected = network(network.preprocessing(raw))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(scores.argmax(1), expected.argmax(1))
    # Negative control: without the preprocessing the scores are others.
    with torch.no_grad():
        assert not torch.allclose(network(raw.float()), expected, rtol=0.1, atol=0.1)


def test_the_file_says_what_it_is(run):
    path = run / "exports/onnx/model.onnx"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["model.onnx", "verification.json"]
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["nnrun.class_names"]) == [str(digit) for digit in range(10)]
    assert said["nnrun.input"] == "raw pixels, uint8, (N, C, H, W)"
    assert "logits" in said["nnrun.output"]
    assert json.loads(said["nnrun.preprocessing"])["mean"] == [MEAN]
    # Not the name of its directory, which may be anybody's: the same run has the same id wherever it lies.
    assert said["nnrun.run_id"] == read(run / "summary.json")["artifacts"]["onnx"]["run_id"]
    assert run.name not in said["nnrun.run_id"]
    accuracy = read(run / "summary.json")["metrics"]["test/accuracy"]
    assert float(said["nnrun.test_accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("input", "tensor(uint8)", [1, 28, 28])
    assert (given.name, given.type, given.shape[1:]) == ("scores", "tensor(float)", [10])
    assert not isinstance(taken.shape[0], int)


def test_the_proof_has_the_keys_of_the_contract_and_true_numbers(run):
    proof, summary = read(run / "exports/onnx/verification.json"), read(run / "summary.json")
    contract = {"ok", "num_samples", "agreement", "max_abs_diff", "metric_eager", "metric_artifact", "size_bytes"}
    assert contract | {"latency_ms_batch_1", "samples_per_second"} <= set(proof)
    assert proof["ok"] is True
    assert proof["num_samples"] == 300
    assert proof["agreement"] == 1.0
    assert 0 <= proof["max_abs_diff"] < 1e-3
    assert proof["metric_eager"] == pytest.approx(summary["metrics"]["test/accuracy"])
    assert proof["metric_artifact"] == pytest.approx(summary["metrics"]["test/accuracy"])
    assert proof["metric_eager"] > 0.5
    assert proof["size_bytes"] == (run / "exports/onnx/model.onnx").stat().st_size
    assert {1, 97} <= set(proof["batch_sizes"])
    assert summary["state"] == "finished"
    artifact = summary["artifacts"]["onnx"]
    assert artifact["ok"] is True
    assert (run / artifact["path"]).is_file()


# Exporters that are wrong in ways that a file does not show.


class SwapsTwoClasses(OnnxExporter):
    """Its 4s are 9s and its 9s are 4s."""

    def export(self, model, context, folder):
        swapped = [0, 1, 2, 3, 9, 5, 6, 7, 8, 4]
        head = nn.Linear(10, 10, bias=False)
        with torch.no_grad():
            head.weight.copy_(torch.eye(10)[swapped])
        return super().export(nn.Sequential(model, head), context, folder)


class OnlyFloats(nn.Module):
    def forward(self, raw):
        return raw.float()

    def to_plain(self):
        return {}


class ForgetsToNormalise(OnnxExporter):
    """It feeds pixels of 0 to 255 into the network."""

    def export(self, model, context, folder):
        return super().export(model, dataclasses.replace(context, preprocessing=OnlyFloats()), folder)


class FreezesTheBatch(OnnxExporter):
    """Its file takes two samples, no more and no fewer."""

    def export(self, model, context, folder):
        path = super().export(model, context, folder)
        proto = onnx.load(path)
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        onnx.save(proto, path)
        return path


class LosesDigits(OnnxExporter):
    """The classes are right, the scores a little off."""

    def export(self, model, context, folder):
        head = nn.Linear(10, 10, bias=False)
        with torch.no_grad():
            head.weight.copy_(torch.eye(10) * 1.01)
        return super().export(nn.Sequential(model, head), context, folder)


class GivesNotANumber(OnnxExporter):
    """Its scores compare false with everything."""

    def load(self, path):
        call = super().load(path)
        return lambda batch: call(batch) * float("nan")


class Fails(OnnxExporter):
    """It cannot express the network."""

    def export(self, model, context, folder):
        raise RuntimeError("no such operator: aten::frobnicate\nand pages more")


@pytest.mark.parametrize(
    ("exporter", "reason"),
    [
        (SwapsTwoClasses, "scores differ by"),
        (ForgetsToNormalise, "scores differ by"),
        (FreezesTheBatch, "it cannot be run"),
        (LosesDigits, "scores differ by"),
        (GivesNotANumber, "scores differ by nan"),
    ],
)
def test_a_wrong_artifact_is_rejected(runs, tmp_path, capsys, exporter, reason):
    """Negative control: the exporter that these are made of passes in the tests above."""
    run = tmp_path / "run"
    words = ["export=onnx", f"export.onnx._target_={__name__}.{exporter.__name__}", f"ckpt={runs / 'mlp'}"]
    assert run_nnrun(tmp_path, *words, f"hydra.run.dir={run}") == 4
    error = capsys.readouterr().err
    assert "nnrun: export.onnx failed verification: " in error
    assert reason in error
    assert sorted(path.name for path in (run / "exports/onnx").iterdir()) == [
        "model.onnx.rejected",
        "verification.json",
    ]
    proof, summary, status = (
        read(run / name) for name in ("exports/onnx/verification.json", "summary.json", "status.json")
    )
    assert proof["ok"] is False
    assert reason in proof["reason"]
    assert summary["state"] == "failed"
    assert summary["artifacts"]["onnx"]["ok"] is False
    assert summary["artifacts"]["onnx"]["path"] == "exports/onnx/model.onnx.rejected"
    assert (status["state"], status["exit_code"]) == ("failed", 4)


def test_classes_that_agree_too_seldom_are_rejected_even_where_scores_are_near(runs, tmp_path, capsys):
    words = ["export=onnx", f"export.onnx._target_={__name__}.SwapsTwoClasses", "export.onnx.tolerance=1000"]
    run = tmp_path / "run"
    assert run_nnrun(tmp_path, *words, f"ckpt={runs / 'mlp'}", f"hydra.run.dir={run}") == 4
    assert "of the predictions agree, fewer than 99.90%" in capsys.readouterr().err


def test_a_network_that_cannot_be_exported_is_a_failed_proof(runs, tmp_path, capsys):
    words = ["export=onnx", f"export.onnx._target_={__name__}.Fails", f"ckpt={runs / 'mlp'}"]
    assert run_nnrun(tmp_path, *words, f"hydra.run.dir={tmp_path / 'run'}") == 4
    assert "it cannot be exported: RuntimeError: no such operator: aten::frobnicate" in capsys.readouterr().err
    assert read(tmp_path / "run/exports/onnx/verification.json")["num_samples"] == 0


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() + str(path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_export_of_a_finished_run_leaves_the_run_as_it_was(run, tmp_path):
    before = tree(run)
    assert run_nnrun(tmp_path, "export=onnx", f"ckpt={run}", f"hydra.run.dir={tmp_path / 'new'}") == 0
    assert tree(run) == before
    summary = read(tmp_path / "new/summary.json")
    assert summary["task"] == "export"
    assert summary["metrics"] == read(run / "summary.json")["metrics"]
    assert summary["artifacts"]["onnx"]["ok"] is True
    assert not (tmp_path / "new/checkpoints").exists()


def test_an_evaluation_exports_nothing(runs, tmp_path):
    assert run_nnrun(tmp_path, f"ckpt={runs / 'mlp'}", f"hydra.run.dir={tmp_path / 'new'}") == 0
    assert read(tmp_path / "new/summary.json")["task"] == "evaluate"
    assert not (tmp_path / "new/exports").exists()


def test_the_bare_network_takes_normalised_floats(runs, test_split, tmp_path):
    words = ["export=onnx", "export.onnx.preprocess=false", f"ckpt={runs / 'cnn'}"]
    assert run_nnrun(tmp_path, *words, f"hydra.run.dir={tmp_path / 'new'}") == 0
    path = tmp_path / "new/exports/onnx/model.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(float)"
    said = session.get_modelmeta().custom_metadata_map
    assert said["nnrun.input"] == "normalized pixels, float32, (N, C, H, W)"
    network, raw = nnrun.load(runs / "cnn"), test_split.inputs[:5]
    floats = (raw.numpy().astype(np.float32) / 255 - MEAN) / STD
    scores = session.run(None, {"input": floats.astype(np.float32)})[0]
    with torch.no_grad():
        expected = network(network.preprocessing(raw))
    torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=1e-4, atol=1e-4)


def test_load_gives_the_evaluated_network_ready_to_use(run, test_split):
    network = nnrun.load(run)
    assert not any(module.training for module in network.modules())
    assert network.class_names == tuple("0123456789")
    expected = (test_split.inputs.double() / 255 - MEAN) / STD
    torch.testing.assert_close(network.preprocessing(test_split.inputs).double(), expected, rtol=0, atol=1e-5)
    best = read(run / "checkpoints/manifest.json")["best"]
    saved = torch.load(run / "checkpoints" / best, weights_only=True)["model"]
    assert list(network.state_dict()) == list(saved)
    assert all(torch.equal(weight, saved[name]) for name, weight in network.state_dict().items())
    assert all(weight.dtype == torch.float32 and weight.device.type == "cpu" for weight in network.parameters())


def test_load_takes_a_text_or_a_checkpoint_file_and_gives_the_measured_accuracy(run, test_split, tmp_path):
    best = run / "checkpoints" / read(run / "checkpoints/manifest.json")["best"]
    alone = tmp_path / best.name
    alone.write_bytes(best.read_bytes())
    limited = read_limited_test(test_split)
    accuracies = []
    for path in (str(run), best, alone):
        network = nnrun.load(path)
        with torch.no_grad():
            hits = network(network.preprocessing(limited.inputs)).argmax(1) == limited.targets
        accuracies.append(hits.double().mean().item())
    assert accuracies == pytest.approx([read(run / "summary.json")["metrics"]["test/accuracy"]] * 3)


def read_limited_test(split):
    """The 300 test samples that data.limit=300 leaves."""
    from nnrun.assembly.data.opened import limited
    from nnrun.base.targets import Targets
    from nnrun.core.randomness import SPLIT
    from nnrun.core.splits import Drawing

    return limited(split, Targets.classes("0123456789"), 300, Drawing("content", SPLIT, 0))
