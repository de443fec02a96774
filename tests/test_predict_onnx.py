"""`task=predict` with an ONNX file: one that is damaged, hostile or not nnrun's is refused with code 4, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cli_fixtures import run_here

NORMALIZE = {"_target_": "nnrun.data.normalize.Normalize", "mean": [0.5], "std": [0.5]}
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
    "own operator": (own_operator, network(), "needs operators of 'com.stranger', which are code"),
    "unknown operator": (unknown_operator, network(), "cannot be loaded by ONNX Runtime"),
    "NaN": (not_a_number, network(), "the network gives NaN or infinite scores for"),
    "too large": (endless, network(), "cannot be"),
    "two inputs": (second_input, network(), "has 2 inputs and 1 outputs"),
    "frozen batch": (nothing, network(shape=(1, 1, 4, 4)), "networks with a batch of any size alone"),
    "other pixels": (nothing, network(taken=TensorProto.INT64), "takes tensor(int64)"),
    "of another program": (nothing, network({}), "was not exported by nnrun: it does not say what its classes are"),
    "no names": (nothing, with_facts(class_names=None), "was not exported by nnrun"),
    "broken names": (nothing, with_facts(class_names='["no", '), "its nnrun.class_names is no JSON"),
    "numbers": (nothing, with_facts(class_names="[1, 2]"), "no list of texts"),
    "escapes": (nothing, with_facts(class_names='["no", "\\u001b[2J"]'), "is refused"),
    "too few names": (nothing, with_facts(class_names='["no"]'), "gives (1, 2) for 1 images of 1 classes"),
    "a resolver": (nothing, with_facts(class_names='["no", "${oc.env:HOME}"]'), "could act when read"),
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
    assert "is refused: 3,221,225,472 bytes" in outcome.err


def test_an_onnx_file_is_for_predictions_alone_and_runs_on_the_cpu(folder: Path) -> None:
    onnx.save_model(network(), str(folder / "network.onnx"))
    onnx.save_model(network(), str(folder / "network.onnx.rejected"))
    for words, code, says in (
        (["ckpt=network.onnx"], 4, "network.onnx is an exported network, which only task=predict takes"),
        (["init_from=network.onnx"], 4, "which only task=predict takes"),
        (["task=predict", "ckpt=network.onnx.rejected", "input=dark.png"], 4, "failed its proof"),
        (["task=predict", "ckpt=network.onnx", "input=dark.png", "trainer.device=cuda"], 2, "is run on the CPU here"),
    ):
        outcome = run_here(words, folder)
        assert (outcome.code, says in outcome.err) == (code, True), outcome.err
