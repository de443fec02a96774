"""`task=predict` with an ONNX file: one that is damaged, hostile or not nnrun's is refused with code 4, and why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from nnrun.assembly.prediction import onnx_predictor as artifact
from nnrun.proof.isolated import RUNNER, Isolated
from support.command_line import run_here

NORMALIZE = {"_target_": "nnrun.components.data.normalize.Normalize", "mean": [0.5], "std": [0.5]}
FACTS = {"class_names": json.dumps(["no", "yes"]), "preprocessing": json.dumps(NORMALIZE)}


def network(
    facts: dict[str, str] = FACTS, taken: int = TensorProto.UINT8, shape: tuple[object, ...] = ("batch", 1, 4, 4)
) -> onnx.ModelProto:
    """A network as nnrun exports it: it says yes where the pixels are bright."""
    nodes = [
        helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
    ]
    weight = np.stack([np.zeros(16), np.full(16, 1 / 16)], 1).astype(np.float32)
    inputs = [helper.make_tensor_value_info("input", taken, shape)]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (shape[0], 2))]
    initial = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.float32([100, 0]), "bias"),
    ]
    graph = helper.make_graph(nodes, "network", inputs, outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {f"nnrun.{key}": value for key, value in facts.items()})
    return model


def outside(tensor: TensorProto) -> TensorProto:
    """The same tensor, said to lie in a file elsewhere."""
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "../secret", "offset": "0", "length": str(len(values))}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def weights_elsewhere(model: onnx.ModelProto) -> None:
    outside(model.graph.initializer[0])


def constant_elsewhere(model: onnx.ModelProto) -> None:
    value = outside(numpy_helper.from_array(np.zeros(2, np.float32), "value"))
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))


def branch_elsewhere(model: onnx.ModelProto) -> None:
    """In a graph within the graph."""
    value = outside(numpy_helper.from_array(np.zeros(2, np.float32), "value"))
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, (2,))
    branch = helper.make_graph([helper.make_node("Constant", [], ["result"], value=value)], "branch", [], [result])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "chosen"))
    model.graph.node.append(helper.make_node("If", ["chosen"], ["also"], then_branch=branch, else_branch=branch))


def own_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.stranger"
    model.opset_import.append(helper.make_opsetid("com.stranger", 1))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "NoSuchOperator"


def not_a_number(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.float32([np.nan, 0]), "bias"))


def endless(model: onnx.ModelProto) -> None:
    """A kilobyte that asks for four terabytes."""
    size = numpy_helper.from_array(np.int64([2**40]), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["zeros"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["scores", "sum"], ["all"]))
    model.graph.output[0].name = "all"


def add_to_scores(model: onnx.ModelProto, number: str) -> None:
    """Make what a network gives depend on one number more, so that it is computed."""
    model.graph.node.append(helper.make_node("Add", ["scores", number], ["all"]))
    model.graph.output[0].name = "all"


def bomb(operator: str, *given: object, **attributes: object) -> Callable[[onnx.ModelProto], None]:
    """A few bytes that ask for gigabytes by an operator of the standard."""

    def change(model: onnx.ModelProto) -> None:
        names = [f"given{index}" if value is not None else "" for index, value in enumerate(given)]
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in zip(names, given, strict=True)
            if value is not None
        )
        model.graph.node.append(helper.make_node(operator, names, ["large"], **attributes))
        model.graph.node.append(helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0))
        add_to_scores(model, "most")

    return change


def rows_of_another_number(model: onnx.ModelProto) -> None:
    """Ten billion outputs for one image."""
    model.graph.initializer.append(numpy_helper.from_array(np.int64([200_000_000, 2]), "many"))
    model.graph.node.append(helper.make_node("Expand", ["scores", "many"], ["all"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("all", TensorProto.FLOAT, (None, 2)))


def whole_numbers(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Cast", ["scores"], ["whole"], to=TensorProto.INT64))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("whole", TensorProto.INT64, ("batch", 2)))


def texts(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Cast", ["scores"], ["text"], to=TensorProto.STRING))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("text", TensorProto.STRING, ("batch", 2)))


def a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 18)]))


def training_info(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.name = "more"


def said_twice(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="nnrun.class_names", value='["yes", "no"]')


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.int64([3]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))


def two_of_one_name(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([0, 100]), "bias"))


def mark_of_another_format(model: onnx.ModelProto) -> None:
    """What ONNX Runtime knows its own format by, in a text that nobody reads."""
    model.producer_name = "ORTM"


def branches_in_branches(model: onnx.ModelProto) -> None:
    """Twenty levels of them."""
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, ())
    value = numpy_helper.from_array(np.float32(0), "value")
    body = helper.make_graph([helper.make_node("Constant", [], ["result"], value=value)], "branch", [], [result])
    for _ in range(20):
        node = helper.make_node("If", ["chosen"], ["result"], then_branch=body, else_branch=body.__class__())
        body = helper.make_graph([node], "branch", [], [result])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "chosen"))
    model.graph.node.append(body.node[0])


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, (1,)))


def nothing(model: onnx.ModelProto) -> None:
    pass


def with_facts(**changed: str | None) -> onnx.ModelProto:
    return network({key: value for key, value in (FACTS | changed).items() if value is not None})


FLOAT = TensorProto.FLOAT
HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], None], onnx.ModelProto, str]] = {
    "weights elsewhere": (weights_elsewhere, network(), "keeps its weights in other files"),
    "a constant elsewhere": (constant_elsewhere, network(), "keeps its weights in other files"),
    "a branch elsewhere": (branch_elsewhere, network(), "keeps its weights in other files"),
    "own operator": (own_operator, network(), "needs custom operators ('com.stranger'), which are code"),
    "unknown operator": (unknown_operator, network(), "cannot be loaded by ONNX Runtime"),
    "NaN": (not_a_number, network(), "the network returns NaN or infinite scores for"),
    "too large": (endless, network(), "cannot be"),
    "Range": (
        bomb("Range", np.float32(0), np.float32(1e10), np.float32(1)),
        network(),
        "takes more memory than the 1,0",
    ),
    "Tile": (bomb("Tile", np.ones(10, np.float32), np.int64([9 * 10**7])), network(), "takes more memory than the 1,0"),
    "Expand": (bomb("Expand", np.float32(1), np.int64([10**5] * 2)), network(), "takes more memory than the 1,0"),
    "Resize": (
        bomb("Resize", np.ones((1, 1, 4, 4), np.float32), None, None, np.int64([1, 1, 10**5, 10**5])),
        network(),
        "takes more memory than the 1,0",
    ),
    "rows": (rows_of_another_number, network(), "cannot be run: 1 sample takes more memory than the 1,0"),
    "whole numbers": (
        whole_numbers,
        network(),
        "returns tensor(int64); nnrun exports networks that return float scores",
    ),
    "texts": (texts, network(), "returns tensor(string)"),
    "no probabilities": (nothing, with_facts(output_kind="probabilities"), "returns NaN or numbers outside of 0..1"),
    "a function": (a_function, network(), "it has functions, which nnrun never exports"),
    "training": (training_info, network(), "it has training_info"),
    "said twice": (said_twice, network(), "its metadata has 'nnrun.class_names' twice"),
    "sparse": (sparse, network(), "it has sparse tensors"),
    "two of a name": (two_of_one_name, network(), "two of its tensors have the same name"),
    "two formats": (mark_of_another_format, network(), "it is also a file in ONNX Runtime's own format"),
    "long fact": (
        nothing,
        with_facts(problem=" " * 4_000_001 + "{}"),
        "nnrun.problem has 4,000,003 characters",
    ),
    "branches": (branches_in_branches, network(), "nested too deep"),
    "two inputs": (second_input, network(), "has 2 inputs and 1 outputs"),
    "frozen batch": (nothing, network(shape=(1, 1, 4, 4)), "networks with a dynamic batch dimension"),
    "other pixels": (nothing, network(taken=TensorProto.INT64), "takes tensor(int64)"),
    "of another program": (nothing, network({}), "was not exported by nnrun: it does not state its classes"),
    "no names": (nothing, with_facts(class_names=None), "was not exported by nnrun"),
    "broken names": (nothing, with_facts(class_names='["no", '), "its nnrun.class_names is not JSON"),
    "numbers": (nothing, with_facts(class_names="[1, 2]"), "not a list of strings"),
    "escapes": (nothing, with_facts(class_names='["no", "\\u001b[2J"]'), "is refused"),
    "too few names": (nothing, with_facts(class_names='["no"]'), "returns (1, 2) for 1 sample of 1 class"),
    "a resolver": (nothing, with_facts(preprocessing='{"_target_": "${oc.env:HOME}"}'), "would be interpolated"),
    "a bomb": (nothing, with_facts(class_names="[" * 5000 + "]" * 5000), "is"),
    "a command": (
        nothing,
        network(FACTS | {"preprocessing": '{"_target_": "os.system", "command": "touch ran"}'}, FLOAT),
        "preprocessing._target_ is 'os.system', which nnrun does not ship",
    ),
    "no preprocessing": (nothing, network(FACTS | {"preprocessing": "[]"}, FLOAT), "names no _target_"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "bright.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "dark.png")
    (tmp_path / "secret").write_bytes(bytes(1000))
    return tmp_path


def predict(folder: Path, pattern: str = "bright.png"):
    words = ["task=predict", "ckpt=network.onnx", f"input={pattern}", "hydra.run.dir=p"]
    return run_here(words, folder)


def test_a_network_of_nnruns_predicts(folder: Path) -> None:
    """The negative control of the rows below; whatever wrote the file, if it says what nnrun's files say."""
    onnx.save_model(network(), str(folder / "network.onnx"))
    outcome = predict(folder, "*.png")
    assert (outcome.code, outcome.err) == (0, "")
    lines = (folder / "p" / "predictions.csv").read_text().splitlines()
    assert lines == ["path,class,probability", "bright.png,yes,1", "dark.png,no,1"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_file_is_refused(name: str, folder: Path) -> None:
    change, model, says = HOSTILE[name]
    change(model)
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    outcome = predict(folder)
    assert outcome.code == 4, outcome.err
    assert says in outcome.err
    assert "network" in outcome.err
    assert "\x1b" not in outcome.err
    assert not (folder / "ran").exists()
    assert not (folder / "p" / "predictions.csv").exists()


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message, a text or a message."""
    return bytes([number << 3 | 2, len(content)]) + content


PLAIN = network().SerializeToString()
UNCLEAR = {
    "a part that no schema knows": (
        PLAIN + field(13, b"more"),
        "a field that ONNX does not know (field 13 of a ModelP",
    ),
    "a part within": (PLAIN + field(8, field(9, b"")), "field 9 of a OperatorSetIdProto"),
    "a second graph, merged": (PLAIN + field(7, b""), "a field occurs twice (graph of a ModelProto)"),
    "a group": (PLAIN + bytes([13 << 3 | 3, 13 << 3 | 4]), "does not know"),
    "a number for a text": (PLAIN + bytes([2 << 3, 1]), "has the wrong type (producer_name of a ModelProto)"),
    "a number written long": (PLAIN + bytes([5 << 3, 0x81, 0x80, 0]), "it has content that ONNX ignores"),
    "a number without end": (PLAIN + bytes([5 << 3]) + b"\xff" * 12, "a varint is longer than 10 bytes"),
    "longer than the whole": (PLAIN + bytes([2 << 3 | 2, 100]), "a field is longer than the message"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_bytes_that_two_readers_could_take_for_two_files_are_refused(name: str, folder: Path) -> None:
    """The negative control: without these bytes at its end the file predicts."""
    content, says = UNCLEAR[name]
    (folder / "network.onnx").write_bytes(content)
    outcome = predict(folder)
    assert (outcome.code, says in outcome.err) == (4, True), outcome.err


def endless_loop() -> onnx.ModelProto:
    """A network whose rounds do not end in a lifetime, and fill no memory."""
    model = network()
    taken = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
    ]
    given = [
        helper.make_tensor_value_info("still", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.FLOAT, []),
    ]
    nodes = [helper.make_node("Identity", ["goes_on"], ["still"]), helper.make_node("Neg", ["sum"], ["next"])]
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.int64(2**62), "rounds"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.float32(0), "none"),
        ]
    )
    body = helper.make_graph(nodes, "body", taken, given)
    model.graph.node.append(helper.make_node("Loop", ["rounds", "yes", "none"], ["result"], body=body))
    add_to_scores(model, "result")
    return model


def processes() -> set[str]:
    """The children of this process."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_network_that_does_not_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: the other tests of this file, whose networks answer before the limit."""
    monkeypatch.setattr(artifact, "_LEAST_SECONDS", 1.0)
    monkeypatch.setattr(artifact, "_SECONDS_PER_SAMPLE", 0.5)
    (folder / "network.onnx").write_bytes(endless_loop().SerializeToString())
    before = processes()
    outcome = predict(folder)
    assert outcome.code == 4
    assert "network.onnx cannot be run: 1 sample takes longer than 2 s, and was stopped" in outcome.err
    assert not processes() - before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_network_that_does_not_end(
    number: int, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "network.onnx").write_bytes(endless_loop().SerializeToString())
    before, asked = processes(), []

    def ask() -> None:
        asked.append(time.monotonic())
        os.kill(os.getpid(), number)

    original = Isolated.__call__

    def called(*arguments, **named):
        threading.Timer(0.3, ask).start()
        return original(*arguments, **named)

    monkeypatch.setattr(Isolated, "__call__", called)
    outcome = predict(folder)
    assert outcome.code == code, outcome.err
    assert time.monotonic() - asked[0] < 60
    assert json.loads((folder / "p/status.json").read_text())["state"] == "interrupted"
    assert not processes() - before


def test_a_network_in_the_midst_of_a_batch_ends_with_the_process_that_asked(folder: Path) -> None:
    (folder / "network.onnx").write_bytes(endless_loop().SerializeToString())
    code = """
import os, signal, threading, torch
from pathlib import Path
from nnrun.proof.isolated import Isolated
from nnrun.proof.isolated import RUNNER
from nnrun.assembly.prediction.onnx_predictor import _limits
path = Path("network.onnx")
network = Isolated(RUNNER, "onnx", path, _limits(1000), path.read_bytes())
print(network._process.pid, network._scratch.name, flush=True)
threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGKILL]).start()
network(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), num_outputs=2)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, scratch = done.stdout.split()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(scratch).exists()


def test_a_process_that_crashes_is_a_network_that_cannot_be_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = folder / "runner.py"
    crash = "        content = requests.read(request['num_bytes'])\n        os.kill(os.getpid(), 11)\n"
    runner.write_text(RUNNER.read_text().replace('        content = requests.read(request["num_bytes"])\n', crash))
    monkeypatch.setattr(artifact, "RUNNER", runner)
    onnx.save_model(network(), str(folder / "network.onnx"))
    outcome = predict(folder)
    assert (outcome.code, "network.onnx cannot be run: its process ended with exit code -11" in outcome.err) == (
        4,
        True,
    )


DAMAGED = {"empty": b"", "a page": b"<html>", "zeros": bytes(100), "cut off": network().SerializeToString()[:-40]}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name: str, folder: Path) -> None:
    (folder / "network.onnx").write_bytes(DAMAGED[name])
    outcome = predict(folder)
    assert outcome.code == 4, outcome.err
    assert "network.onnx" in outcome.err


def test_more_bytes_than_such_a_file_can_have_are_not_read(folder: Path) -> None:
    with (folder / "network.onnx").open("wb") as file:
        file.truncate(3 * 2**30)
    outcome = predict(folder)
    assert outcome.code == 4
    assert "is refused: it has 3,221,225,472 bytes, more than" in outcome.err


def test_an_onnx_file_is_for_predictions_alone_and_runs_on_the_cpu(folder: Path) -> None:
    onnx.save_model(network(), str(folder / "network.onnx"))
    onnx.save_model(network(), str(folder / "network.onnx.rejected"))
    for words, code, says in (
        (["ckpt=network.onnx"], 4, "network.onnx is an exported network, which only task=predict takes"),
        (["init_from=network.onnx"], 4, "which only task=predict takes"),
        (["task=predict", "ckpt=network.onnx.rejected", "input=dark.png"], 4, "failed verification"),
        (
            ["task=predict", "ckpt=network.onnx", "input=dark.png", "trainer.device=cuda"],
            2,
            "runs an ONNX file on the CPU",
        ),
    ):
        outcome = run_here(words, folder)
        assert (outcome.code, says in outcome.err) == (code, True), outcome.err
