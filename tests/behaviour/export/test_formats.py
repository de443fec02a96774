"""Every format: its artifact runs without nnrun, agrees with the network, says what it is; a wrong one is caught."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import nnrun
from nnrun.base.errors import ArtifactError, InterruptedRun, ResourceError
from nnrun.base.targets import Targets
from nnrun.components.data.digits import Digits
from nnrun.components.data.normalize import Normalize
from nnrun.components.exporters.onnx import OnnxExporter
from nnrun.components.exporters.onnx_int8 import OnnxInt8Exporter
from nnrun.components.exporters.safetensors import SafetensorsExporter
from nnrun.components.losses.cross_entropy import CrossEntropy
from nnrun.components.problems.classification import Classification
from nnrun.core.seams.export import ExportContext
from nnrun.proof.isolated import Isolated
from nnrun.proof.verdict import Verification
from nnrun.proof.verify import Standard, has_fallen
from nnrun.tasks.export.exports import _export_one
from support.options import option_sections, target_and_parameters

pytestmark = pytest.mark.usefixtures("warm_python")

SECTIONS = option_sections("export")
FORMATS = tuple(SECTIONS)


class Deep(nn.Module):
    """BatchNorm with statistics of its own, dropout, adaptive pooling."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32)]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))


@pytest.fixture(scope="module")
def standard() -> Standard:
    """A network that was trained for a moment, as a run hands it to its exporters."""
    data = Digits().load()
    torch.manual_seed(0)
    network, problem = Deep(), Classification(data.targets)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(3):
        for part in torch.randperm(len(data.train)).split(64):
            optimizer.zero_grad()
            scores = network(data.preprocessing(data.train.inputs[part]))
            CrossEntropy()(scores, data.train.targets[part]).mean().backward()
            optimizer.step()
    return Standard(network.eval(), data.preprocessing, problem, data.test)


def context(standard: Standard) -> ExportContext:
    train = Digits().load().train
    return ExportContext(
        standard.test.inputs[:4],
        standard.problem,
        standard.preprocessing,
        "a_run",
        0.9,
        lambda number: train.inputs[:number],
        {"model": {"_target_": "my.Deep"}},
    )


def exporter_of(name: str, **changes: Any) -> Any:
    cls, parameters = target_and_parameters(SECTIONS[name])
    return cls(**parameters | changes)


def prove(exporter: Any, standard: Standard, folder: Path) -> tuple[Path, Verification]:
    return _export_one(exporter, standard, context(standard), folder)


@pytest.fixture(scope="module")
def proven(standard: Standard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Verification]]:
    """An artifact and its proof in each format, as its YAML has it; BatchNorm and dropout as in an evaluation."""
    folder = tmp_path_factory.mktemp("proven")
    found = {}
    for name in FORMATS:
        (folder / name).mkdir()
        found[name] = prove(exporter_of(name), standard, folder / name)
    return found


# What a process must have for a format, and may not have beyond what that brings itself.
PACKAGES = {"onnx": {"numpy", "onnxruntime"}, "onnx_int8": {"numpy", "onnxruntime"}}


@pytest.mark.parametrize("name", FORMATS)
def test_an_artifact_is_proven_on_the_whole_test_split_in_a_process_without_nnrun(proven, standard, name) -> None:
    path, proof = proven[name]
    assert proof.ok, proof.reason
    assert path.is_file()
    assert proof.num_samples == len(standard.test) == 360
    assert proof.batch_sizes == [1, 2, 97, 500]
    assert proof.metric_eager > 0.7
    assert proof.metric_artifact == pytest.approx(proof.metric_eager, abs=0.01 if name == "onnx_int8" else 1e-9)
    if name in ("safetensors", "hub"):
        assert proof.packages is None
        assert "verified in the network's class" in proof.notes[0]
    else:
        assert "nnrun" not in proof.packages
        assert set(proof.packages) == PACKAGES.get(name, set(proof.packages))
        assert ("torch" in proof.packages) == (name not in PACKAGES)


def test_int8_is_smaller_and_really_quantized(proven) -> None:
    assert proven["onnx_int8"][1].size_bytes < 0.6 * proven["onnx"][1].size_bytes
    path, proof = proven["onnx_int8"]
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx"]
    assert proof.max_abs_diff > 1e-3, "else nothing was quantized"
    assert proof.tolerance is None
    json.loads(json.dumps(proof.to_json(), allow_nan=False))


def test_artifacts_of_torch_say_what_they_are(proven) -> None:
    """Where there is only torch they are run by tests/test_deploy_page.py."""
    files, texts = {"nnrun.json": b""}, {"nnrun.json": ""}
    torch.jit.load(proven["torchscript"][0], _extra_files=files)
    torch.export.load(proven["pt2"][0], extra_files=texts)
    for content in (files["nnrun.json"], texts["nnrun.json"]):
        said = json.loads(content)
        assert json.loads(said["class_names"]) == [str(digit) for digit in range(10)]
        assert said["input"] == "raw pixels, uint8, (N, C, H, W)"
        assert (said["output_kind"], said["run_id"], said["test_accuracy"]) == ("scores", "a_run", "0.900000")
    assert json.loads(files["nnrun.json"])["method"] == "scripted"


def test_safetensors_load_with_safetensors_alone(proven, standard) -> None:
    code = """
import json, sys
from pathlib import Path
from safetensors.numpy import load_file
card = json.loads(Path(sys.argv[1]).with_name("model.json").read_text())
shapes = {name: list(array.shape) for name, array in load_file(sys.argv[1]).items()}
assert not {"torch", "nnrun"} & set(sys.modules)
print(json.dumps([card, shapes]))
"""
    path = proven["safetensors"][0]
    done = subprocess.run([sys.executable, "-I", "-c", code, str(path)], check=True, capture_output=True, text=True)
    card, shapes = json.loads(done.stdout)
    assert shapes == {name: list(tensor.shape) for name, tensor in standard.network.state_dict().items()}
    assert card["class_names"] == list("0123456789")
    assert card["preprocessing"] == standard.preprocessing.to_plain()
    assert (card["format"], card["weights"], card["run_id"]) == ("nnrun.safetensors", "model.safetensors", "a_run")
    assert card["config"]["model"]["_target_"] == "my.Deep"


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_probabilities_and_bare_networks(standard, tmp_path, name) -> None:
    """Both settings together: a bare network that gives probabilities."""
    exporter = exporter_of(name, output="probabilities", preprocess=False)
    path, proof = prove(exporter, standard, tmp_path)
    assert proof.ok, proof.reason
    assert proof.output == "probabilities"
    loaded = exporter.load(path)
    probabilities = loaded(standard.preprocessing(standard.test.inputs[:7]))
    assert (loaded.metadata["output_kind"], loaded.metadata["input"][:10]) == ("probabilities", "normalized")
    loaded.close()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7))
    with torch.no_grad():
        torch.testing.assert_close(probabilities, standard(standard.test.inputs[:7]).softmax(1))


# Exporters that are wrong in ways that a file does not show.


class _Swaps:
    """Its 4s are 9s and its 9s are 4s."""

    def export(self, model, context, folder):
        head = nn.Linear(10, 10, bias=False)
        with torch.no_grad():
            head.weight.copy_(torch.eye(10)[[0, 1, 2, 3, 9, 5, 6, 7, 8, 4]])
        return super().export(nn.Sequential(model, head), context, folder)


class _OnlyFloats(Normalize):
    def __call__(self, raw):
        return raw.float()


class _ForgetsToNormalise:
    """It feeds pixels of 0 to 255 into the network."""

    def export(self, model, context, folder):
        plain = context.preprocessing
        return super().export(
            model, dataclasses.replace(context, preprocessing=_OnlyFloats(plain.mean, plain.std)), folder
        )


class _Freezes(nn.Module):
    """It gives as many scores as the example had."""

    def __init__(self, network, size):
        super().__init__()
        self.network, self.size = network, size

    def forward(self, inputs):
        return self.network(inputs[: self.size].reshape(self.size, *inputs.shape[1:]))


class _FreezesTheBatch:
    def export(self, model, context, folder):
        return super().export(_Freezes(model, len(context.example)), context, folder)


class _MixesUpTheNames:
    def export(self, model, context, folder):
        first, *others = context.targets.names
        problem = Classification(Targets.classes([*others, first]))
        return super().export(model, dataclasses.replace(context, problem=problem), folder)


FAULTS = {
    "swaps two classes": (_Swaps, "scores differ by"),
    "forgets to normalize": (_ForgetsToNormalise, "scores differ by"),
    "freezes the batch": (_FreezesTheBatch, ""),
    "mixes up the names": (_MixesUpTheNames, "it names the classes"),
}
CASES = [*(("onnx", fault) for fault in FAULTS), ("torchscript", "swaps two classes")]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_wrong_artifact_is_caught_and_the_worst_samples_are_named(standard, tmp_path, name, fault) -> None:
    """Negative control: the exporters that these are made of pass above."""
    kind, reason = FAULTS[fault]
    cls, parameters = target_and_parameters(SECTIONS[name])
    exporter = type("Wrong", (kind, cls), {})(**parameters)
    path, proof = prove(exporter, standard, tmp_path)
    assert not proof.ok
    assert reason in proof.reason
    if fault == "swaps two classes":
        assert path.name.endswith(".rejected")
        worst = proof.worst[0]
        assert {worst["eager"], worst["artifact"]} == {"4", "9"}
        index = worst["index"]
        assert worst["target"] == str(standard.test.targets[index].item())
        with torch.no_grad():
            ours = standard(standard.test.inputs[index][None])[0]
        assert worst["predictions_eager"]["4"] == pytest.approx(ours.softmax(0)[4].item(), rel=1e-3)
        assert worst["predictions_artifact"]["9"] == pytest.approx(ours.softmax(0)[4].item(), rel=1e-3)


def test_weights_of_which_one_is_missing_or_rounded_are_caught(standard, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    class LosesOne(SafetensorsExporter):
        def export(self, model, context, folder):
            path = super().export(model, context, folder)
            weights = load_file(path)
            del weights["head.2.bias"]
            save_file(weights, path)
            return path

    class RoundsOne(SafetensorsExporter):
        def export(self, model, context, folder):
            path = super().export(model, context, folder)
            weights = load_file(path)
            save_file(weights | {"head.2.weight": weights["head.2.weight"].half().float()}, path)
            return path

    for cls, reason in ((LosesOne, "head.2.bias"), (RoundsOne, "scores differ by")):
        (tmp_path / cls.__name__).mkdir()
        proof = prove(cls(1e-6, 1.0), standard, tmp_path / cls.__name__)[1]
        assert not proof.ok
        assert reason in proof.reason


def test_a_softmax_that_the_metadata_names_and_the_graph_lacks_is_caught(standard, tmp_path) -> None:
    class SaysProbabilities(OnnxExporter):
        def export(self, model, context, folder):
            path = super().export(model, context, folder)
            model = onnx.load(path)
            kind = next(entry for entry in model.metadata_props if entry.key == "nnrun.output_kind")
            kind.value = "probabilities"
            onnx.save(model, path)
            return path

    parameters = target_and_parameters(SECTIONS["onnx"])[1]
    proof = prove(SaysProbabilities(**parameters), standard, tmp_path)[1]
    assert not proof.ok
    assert "scores differ by" in proof.reason


@pytest.mark.parametrize(
    ("score", "theirs", "falls"),
    [(0.48, 0.47, False), (0.9, 0.95, False), (0.48, 0.4699, True), (0.48, float("nan"), True)],
)
def test_accuracy_may_fall_by_just_as_much_as_is_allowed(score: float, theirs: float, falls: bool) -> None:
    """Of 100 samples one may be lost: in floats 0.48 - 0.47 is above 0.01."""
    assert has_fallen(score, theirs, 0.01) is falls


def test_int8_that_loses_accuracy_is_caught(standard, tmp_path) -> None:
    class CalibratedOnNothing(OnnxInt8Exporter):
        def export(self, model, context, folder):
            black = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
            return super().export(model, dataclasses.replace(context, calibration=lambda _: black), folder)

    parameters = target_and_parameters(SECTIONS["onnx_int8"])[1] | {"min_agreement": 0.0}
    path, proof = prove(CalibratedOnNothing(**parameters), standard, tmp_path)
    assert not proof.ok
    assert "accuracy falls from" in proof.reason
    assert "by more than 0.01" in proof.reason
    assert path.name == "model.onnx.rejected"
    assert len(proof.worst) == 5


# A network that a trace does not capture, of which PyTorch does not warn.


class CountsByStride(nn.Module):
    """Adds a number for each sample, which a trace freezes at the example's size."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        flat = inputs.flatten(1)
        return self.head(flat) + torch.ones(flat.t().contiguous().stride(0), 1)


class _OnlyTraces:
    def retry(self, reason):
        return None


@pytest.mark.parametrize("name", ["onnx", "onnx_int8"])
def test_a_network_whose_trace_is_wrong_is_exported_again_without_tracing(standard, tmp_path, name) -> None:
    ours = dataclasses.replace(standard, network=CountsByStride().eval())
    path, proof = prove(exporter_of(name), ours, tmp_path)
    assert proof.ok, proof.reason
    assert [file.name for file in tmp_path.iterdir()] == [path.name] == ["model.onnx"]
    note = proof.notes[0]
    assert note.startswith("exported again without tracing, since the traced network failed: it cannot be ")

    cls, parameters = target_and_parameters(SECTIONS[name])
    path.unlink()
    proof = prove(type("OnlyTraces", (_OnlyTraces, cls), {})(**parameters), ours, tmp_path)[1]
    assert not proof.ok, "the negative control"
    assert not path.exists()


def test_a_network_that_fails_both_ways_keeps_both_reasons(standard, tmp_path) -> None:
    cls, parameters = target_and_parameters(SECTIONS["onnx"])
    exporter = type("Wrong", (_Swaps, cls), {})(**parameters)
    plain = dataclasses.replace(standard, network=nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval())
    _, proof = prove(exporter, plain, tmp_path)
    assert proof.reason is not None
    assert proof.reason.startswith("scores differ by")
    (note,) = proof.notes
    assert note.startswith("exported again without tracing, since the traced network failed: scores differ by")
    # Good from the start, it is exported once: the notes above are of a failure.
    (tmp_path / "right").mkdir()
    assert prove(exporter_of("onnx"), plain, tmp_path / "right")[1].notes == []


# Networks that only some formats can express.


class DependsOnTheData(nn.Module):
    """Script can express its branch; a graph cannot."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, inputs):
        scores = self.head(inputs.flatten(1))
        if scores.sum() > 0:
            scores = scores * 2
        return scores


class DependsOnTheDataInPython(DependsOnTheData):
    """Nor can script: it takes no `**` of arguments."""

    def forward(self, inputs, **unused):
        scores = self.head(inputs.flatten(1))
        return scores * 2 if scores.sum().item() > 0 else scores


class OnlyInPython(DependsOnTheData):
    """One path for all data, in words that script does not know."""

    def forward(self, inputs, **unused):
        return self.head(inputs.flatten(1))


@pytest.mark.parametrize(
    ("network", "answer"),
    [
        (DependsOnTheData, ("onnx", "use export=torchscript (by script) or safetensors")),
        (DependsOnTheData, ("pt2", "use export=torchscript (by script) or safetensors")),
        (DependsOnTheData, ("torchscript", None)),
        (DependsOnTheData, ("safetensors", None)),
        (DependsOnTheDataInPython, ("torchscript", "use export=safetensors")),
        (OnlyInPython, ("torchscript", None)),
    ],
)
def test_a_format_that_cannot_express_a_network_names_one_that_can(standard, tmp_path, capfd, network, answer) -> None:
    """Nobody sees the program that torch writes to stderr."""
    name, reason = answer
    torch.manual_seed(0)
    other = dataclasses.replace(standard, network=network().eval())
    _, proof = prove(exporter_of(name), other, tmp_path)
    if reason is None:
        assert proof.ok, proof.reason
        if name == "torchscript":
            assert proof.notes[0].startswith("traced, because" if network is OnlyInPython else "scripted")
    else:
        assert proof.reason == f"it cannot be exported: the network has data-dependent control flow, which {name} " + (
            f"cannot express; {reason}"
        )
        assert capfd.readouterr().err == ""
        assert list(tmp_path.iterdir()) == []


# The process of the proof.


def run_script(tmp_path: Path, body: str) -> Isolated:
    script = tmp_path / "script.py"
    script.write_text(body)
    return Isolated(script, "onnx", tmp_path / "model.onnx")


def test_a_runner_that_has_nnrun_proves_nothing(standard, tmp_path) -> None:
    """Negative control: it is our runner with one import more, and its scores are right."""
    from nnrun.proof.isolated import RUNNER

    script = tmp_path / "runner.py"
    more = f"import sys\nsys.path.append({str(Path(nnrun.__file__).parents[1])!r})\nimport nnrun\n"
    script.write_text(RUNNER.read_text().replace("import json\n", f"{more}import json\n", 1))

    class HasNnrun(OnnxExporter):
        def load(self, path):
            return Isolated(script, "onnx", path)

    proof = prove(HasNnrun(**target_and_parameters(SECTIONS["onnx"])[1]), standard, tmp_path)[1]
    assert not proof.ok
    assert "it ran in a process that had imported nnrun" in proof.reason
    assert proof.agreement == 1.0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise SystemExit('no such thing')", "its process ended with exit code 1: no such thing"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "its process ended with exit code -11: it printed nothing",
        ),
    ],
)
def test_a_process_that_ends_is_an_artifact_that_cannot_be_loaded(tmp_path, body, says) -> None:
    with pytest.raises(ArtifactError, match="cannot be loaded") as caught:
        run_script(tmp_path, body)
    assert says in str(caught.value)


def test_a_process_that_the_kernel_kills_says_nothing_of_the_artifact(tmp_path) -> None:
    """As it does when memory runs out. Negative control: one that crashes does, as above."""
    with pytest.raises(
        ResourceError, match=r"was killed \(SIGKILL\), perhaps because memory ran out; the artifact is not verified"
    ):
        run_script(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_a_file_that_is_no_artifact_is_refused_with_its_reason(tmp_path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"not at all")
    with pytest.raises(ArtifactError, match="cannot be loaded") as caught:
        exporter_of("onnx").load(path)
    assert len(str(caught.value)) < 500


def test_the_process_ends_with_its_artifact(proven) -> None:
    loaded = exporter_of("onnx").load(proven["onnx"][0])
    process, scratch = loaded._process, Path(loaded._scratch.name)
    assert process.poll() is None
    assert scratch.is_dir()
    loaded.close()
    assert process.returncode is not None
    assert not scratch.exists()
    with pytest.raises(ValueError, match="closed"):
        loaded(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))


def test_an_interrupt_does_not_wait_for_the_process_and_stays_one(tmp_path, monkeypatch) -> None:
    """As when it comes while the process imports torch."""
    started: list[Any] = []

    def interrupted(artifact: Isolated) -> None:
        started.append(artifact._process)
        raise InterruptedRun(signal.SIGINT)

    monkeypatch.setattr(Isolated, "_receive", interrupted)
    with pytest.raises(InterruptedRun):
        run_script(tmp_path, "import time\nwhile True:\n    time.sleep(1)")
    assert started[0].returncode == -signal.SIGKILL


def test_a_process_whose_parent_is_gone_ends_and_leaves_nothing(proven, tmp_path) -> None:
    body = f"""
import os, signal, sys
from pathlib import Path
from nnrun.proof.isolated import Isolated
from nnrun.proof.isolated import RUNNER
loaded = Isolated(RUNNER, "onnx", Path({str(proven["onnx"][0])!r}))
print(loaded._process.pid, loaded._scratch.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, scratch = done.stdout.split()
    for _ in range(600):
        if not Path(scratch).exists():
            break
        time.sleep(0.1)
    assert not Path(scratch).exists()
    for _ in range(600):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it still runs")
