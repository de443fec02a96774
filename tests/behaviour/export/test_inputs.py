"""Networks that take several tensors: each format takes them by name, is proven with them, or says which format can."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnrun.base.targets import Targets
from nnrun.components.problems.classification import Classification
from nnrun.core.seams.data import Split
from nnrun.core.seams.export import ExportContext
from nnrun.core.trees import samples_of
from nnrun.proof.verdict import Verification
from nnrun.proof.verify import Standard
from nnrun.tasks.export.exports import _export_one
from support.options import option_sections, target_and_parameters

pytestmark = pytest.mark.usefixtures("warm_python")

SECTIONS = option_sections("export")
TARGETS = Targets.classes(("left", "right", "above"))


class OfBoth(nn.Module):
    """A picture and a few numbers beside it, in one dict."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.numbers, self.head = nn.Conv2d(1, 8, 3), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        seen = self.picture(inputs["picture"]).relu().mean((2, 3))
        return self.head(seen + self.numbers(inputs["numbers"]))


class OfBothWithoutTypes(OfBoth):
    """TorchScript takes an argument without a type for one tensor: it is traced."""

    def forward(self, inputs):
        seen = self.picture(inputs["picture"]).relu().mean((2, 3))
        return self.head(seen + self.numbers(inputs["numbers"]))


class OfATuple(OfBoth):
    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        picture, numbers = inputs
        return self.head(self.picture(picture).relu().mean((2, 3)) + self.numbers(numbers))


class Scaled:
    """Pixels in 0..1; of the numbers nothing is changed."""

    def __call__(self, raw: Any) -> Any:
        return tree_map(lambda leaf: leaf.float() / 255 if leaf.dtype == torch.uint8 else leaf, raw)

    def to_plain(self) -> dict[str, Any]:
        return {"_target_": "mine.Scaled"}


def standard_of(kind: type[OfBoth]) -> Standard:
    """An untrained network and 700 samples of which it gives some to each of its three classes."""
    torch.manual_seed(0)
    network = kind()
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (700, 1, 6, 6), dtype=torch.uint8, generator=generator)
    numbers = torch.randn(700, 5, generator=generator)
    both = (pictures, numbers)
    inputs = both if isinstance(network, OfATuple) else dict(zip(("picture", "numbers"), both, strict=True))
    with torch.no_grad():
        network.eval().head.weight.mul_(20)
        targets = network(Scaled()(inputs)).argmax(1)
    return Standard(network, Scaled(), Classification(TARGETS), Split(inputs, targets))


def prove(name: str, standard: Standard, folder: Path, **changes: Any) -> tuple[Path, Verification]:
    cls, parameters = target_and_parameters(SECTIONS[name])
    inputs = standard.test.inputs
    context = ExportContext(
        samples_of(inputs, slice(4)),
        standard.problem,
        standard.preprocessing,
        "a_run",
        0.9,
        lambda number: samples_of(inputs, slice(number)),
        {"model": {"_target_": "my.Network"}},
    )
    return _export_one(cls(**parameters | changes), standard, context, folder)


Proven = Callable[[str, type[OfBoth]], tuple[Standard, Path, Verification]]


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """Return a network with its artifact in a format and the proof of it: each is made once."""

    @functools.cache
    def proven(name: str, kind: type[OfBoth]) -> tuple[Standard, Path, Verification]:
        standard = standard_of(kind)
        # Its targets are what it says itself: int8 loses those that it was unsure of.
        changes = {"max_accuracy_drop": 0.03} if name == "onnx_int8" else {}
        return standard, *prove(name, standard, tmp_path_factory.mktemp(name), **changes)

    return proven


@pytest.mark.parametrize("kind", [OfBoth, OfBothWithoutTypes, OfATuple])
@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "torchserve"])
def test_a_network_of_several_inputs_is_proven(name: str, kind: type[OfBoth], proven: Proven) -> None:
    standard, _, proof = proven(name, kind)
    assert standard.test.targets.bincount(minlength=3).min() > 0
    assert proof.ok, proof.reason
    assert (proof.num_samples, proof.batch_sizes) == (700, [1, 2, 97, 500])
    if name == "torchscript":
        assert proof.notes[0].startswith("traced, because" if kind is OfBothWithoutTypes else "scripted")


def test_a_network_without_its_preprocessing_is_proven_too(tmp_path: Path) -> None:
    path, proof = prove("onnx", standard_of(OfBoth), tmp_path, preprocess=False, output="probabilities")
    assert proof.ok, proof.reason
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert said["nnrun.input"] == "picture: normalized pixels, float32, (N, C, H, W); numbers: normalized values, " + (
        "float32, (N, 5)"
    )


def test_onnx_takes_the_names_of_a_dict(proven: Proven) -> None:
    standard, path, _ = proven("onnx", OfBoth)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()} == {
        "picture": ("tensor(uint8)", [1, 6, 6]),
        "numbers": ("tensor(float)", [5]),
    }
    some = samples_of(standard.test.inputs, slice(7))
    (scores,) = session.run(["scores"], {name: leaf.numpy() for name, leaf in some.items()})
    with torch.no_grad():
        np.testing.assert_allclose(scores, standard(some).numpy(), rtol=1e-4, atol=1e-4)
    said = session.get_modelmeta().custom_metadata_map["nnrun.input"]
    assert said == "picture: raw pixels, uint8, (N, C, H, W); numbers: raw values, float32, (N, 5)"


@pytest.mark.parametrize("kind", [OfBoth, OfBothWithoutTypes, OfATuple])
def test_the_formats_of_torch_take_the_same_tree_in_one_argument(kind: type[OfBoth], proven: Proven) -> None:
    for name, load in (("torchscript", torch.jit.load), ("pt2", lambda path: torch.export.load(path).module())):
        standard, path, _ = proven(name, kind)
        some = samples_of(standard.test.inputs, slice(7))
        with torch.no_grad():
            torch.testing.assert_close(load(path)(some), standard(some), rtol=1e-4, atol=1e-4)


def test_trees_within_a_tree_are_for_onnx_and_pt2_alone(tmp_path: Path) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, inputs: Any) -> Tensor:
            first, second = inputs["pair"]
            return self.head(inputs["one"]["x"] + first - second)

    inputs = {"pair": (torch.randn(700, 4), torch.randn(700, 4)), "one": {"x": torch.randn(700, 4)}}
    network = Deep().eval()
    with torch.no_grad():
        targets = network(inputs).argmax(1)
    standard = Standard(network, Scaled(), Classification(TARGETS), Split(inputs, targets))
    for name in ("onnx", "pt2"):
        (tmp_path / name).mkdir()
        assert prove(name, standard, tmp_path / name)[1].ok
    assert prove("torchscript", standard, tmp_path)[1].reason == (
        "it cannot be exported: torchscript takes a tensor, or a dict or tuple of tensors, but these inputs are nested "
        "deeper (pair.0, pair.1, one.x); use export=onnx, pt2 or safetensors"
    )


def test_torchserve_takes_one_image_and_says_which_formats_take_more(tmp_path: Path) -> None:
    _, proof = prove("torchserve", standard_of(OfBoth), tmp_path)
    assert proof.reason == (
        "it cannot be exported: torchserve takes one image per sample, but these have picture, numbers; use "
        "export=onnx, torchscript or pt2"
    )


def test_an_input_that_is_called_as_the_output_is_refused(tmp_path: Path) -> None:
    class Renamed(OfBoth):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return super().forward({"picture": inputs["picture"], "numbers": inputs["scores"]})

    made = standard_of(OfBoth)
    inputs = {"picture": made.test.inputs["picture"], "scores": made.test.inputs["numbers"]}
    renamed = Standard(Renamed().eval(), Scaled(), made.problem, Split(inputs, made.test.targets))
    _, proof = prove("onnx", renamed, tmp_path)
    assert proof.reason is not None
    assert "the data has an input named 'scores', like the output; use export=pt2" in proof.reason


def test_inputs_that_are_mixed_up_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tensors of one shape and type that change places: only the names say which is which."""

    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return self.head(inputs["a"] - inputs["b"])

    inputs = {"b": torch.randn(700, 4), "a": torch.randn(700, 4)}
    network = Difference().eval()
    with torch.no_grad():
        targets = network(inputs).argmax(1)
    problem = Classification(TARGETS)
    standard = Standard(network, Scaled(), problem, Split(inputs, targets))
    path, proof = prove("onnx", standard, tmp_path)
    assert proof.ok, "the negative control"
    assert json.loads(json.dumps(proof.to_json()))["agreement"] == 1.0
    model = onnx.load(io.BytesIO(path.read_bytes()))
    first, second = model.graph.input
    first.name, second.name = second.name, first.name
    for node in model.graph.node:
        swapped = [{"a": "b", "b": "a"}.get(name, name) for name in node.input]
        node.input[:] = swapped
    cls, _ = target_and_parameters(SECTIONS["onnx"])
    monkeypatch.setattr(cls, "model_of", lambda *_: model)
    (tmp_path / "wrong").mkdir()
    _, wrong = prove("onnx", standard, tmp_path / "wrong")
    assert not wrong.ok
    assert "scores differ by" in str(wrong.reason)
