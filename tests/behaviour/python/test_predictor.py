"""`nnrun.predictor`: a trained network of any kind, called with whatever a program has, without a command line."""

from __future__ import annotations

import csv
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nnrun
from nnrun.api import ArtifactError, ConfigError, DataError, Predictor, ResourceError
from nnrun.components.data.digits import Digits
from support.command_line import OWN, run_here, write_files
from support.pictures import labelled, valued

TWO = """
import torch
from torch import nn
from nnrun.api import Dataset, Split, Targets

class Two:
    def load(self):
        return Dataset(part(90, 0), part(30, 1), targets=Targets.values(["sum"]), preprocessing=AsFloats())

def part(number, seed):
    draw = torch.Generator().manual_seed(seed)
    picture = torch.randint(0, 256, (number, 1, 4, 4), generator=draw, dtype=torch.uint8)
    vector = torch.randn(number, 3, generator=draw)
    return Split({"picture": picture, "vector": vector}, 100 + 10 * vector.sum(1, keepdim=True))

class AsFloats:
    def __call__(self, raw):
        return {name: tensor.float() for name, tensor in raw.items()}
    def to_plain(self):
        return {"_target_": "two.AsFloats"}

class Net(nn.Module):
    def __init__(self, num_outputs):
        super().__init__()
        self.layer = nn.Linear(3, num_outputs)
    def forward(self, inputs):
        return self.layer(inputs["vector"]) + 0 * inputs["picture"].sum((1, 2, 3))[:, None]
"""
FILES = {
    **OWN,
    "two.py": TWO,
    "conf/data/two.yaml": "# Two.\ndefaults: [_base]\nname: two\ndataset:\n  _target_: two.Two\n",
    "conf/model/net.yaml": "# Net.\n_target_: two.Net\nnum_outputs: ${data.num_outputs}\n",
}
COMMON = ("data.val_fraction=0.2", "trainer.epochs=2", "trainer.progress=false", "data.batch_size=30")
KINDS = {
    "classes": ["model=cnn", "data.limit=600", "export=[onnx,safetensors]"],
    "labels": ["data=arrays", "data.root=labels.npz", "model=mlp", "export=onnx"],
    "values": ["data=arrays", "data.root=values.npz", "model=mlp", "export=onnx"],
    "floats": ["data=arrays", "data.root=floats.npz", "model=mlp", "export=onnx"],
    "inputs": ["data=two", "model=net", "export=onnx", "optimizer.lr=0.1"],
    "own": ["model=mynet", "data.limit=200", "export=none"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("predictor")
    write_files(home, FILES)
    (x, y), (x_test, y_test) = labelled(120), labelled(40, seed=1)
    np.savez(home / "labels.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    (x, y), (x_test, y_test) = valued(120), valued(40, seed=1)
    np.savez(home / "values.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(90, 2, 5)).astype(np.float32), draw.integers(0, 3, 90)
    np.savez(home / "floats.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    for name, words in KINDS.items():
        outcome = run_here([*words, *COMMON, f"hydra.run.dir={name}"], home)
        assert outcome.code == 0, outcome.err
    (home / "shots").mkdir()
    for index, pixels in enumerate(Digits().load().test.inputs[:12]):
        Image.fromarray(pixels[0].numpy()).save(home / "shots" / f"{index}.png")
    return home


@pytest.fixture(autouse=True)
def _here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


@pytest.fixture
def digits() -> torch.Tensor:
    return Digits().load().test.inputs[:12]


@pytest.fixture(scope="module")
def predictor(home: Path) -> Predictor:
    return nnrun.predictor(home / "classes")


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a folder": lambda _: "shots",
    "a pattern": lambda _: Path("shots/*.png"),
    "paths": lambda x: [Path(f"shots/{index}.png") for index in range(len(x))],
    "a tensor": lambda x: x,
    "a tensor that is being trained on": lambda x: x.clone().float().requires_grad_().byte(),
    "an array": lambda x: x.numpy(),
    "an array that is read-only": lambda x: np.frombuffer(x.numpy().tobytes(), dtype=np.uint8).reshape(x.shape),
    "an array that lies backwards": lambda x: x.numpy()[::-1].copy()[::-1],
    "channels last": lambda x: x.permute(0, 2, 3, 1).numpy(),
    "gray without channels": lambda x: x[:, 0].numpy(),
    "a list of tensors": list,
    "a list of arrays": lambda x: [sample[0].numpy() for sample in x],
    "PIL images": lambda x: [Image.fromarray(sample[0].numpy()) for sample in x],
    "a generator": lambda x: (sample for sample in x),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_samples_is_predicted_alike(
    predictor: Predictor, digits: torch.Tensor, form: str
) -> None:
    """As the network itself says it, which is none of the program's."""
    network = nnrun.load("classes")
    with torch.inference_mode():
        probabilities = network(network.preprocessing(digits)).softmax(1)
    rows = predictor(FORMS[form](digits))
    assert [row["class"] for row in rows] == [network.class_names[index] for index in probabilities.argmax(1)]
    assert [row["probability"] for row in rows] == pytest.approx(probabilities.amax(1).tolist(), abs=1e-6)
    array = predictor.predict_array(FORMS[form](digits))
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, probabilities, atol=1e-6)


def test_one_sample_is_a_list_of_one_and_none_is_an_empty_one(predictor: Predictor, digits: torch.Tensor) -> None:
    whole = predictor(digits)
    picture = Image.fromarray(digits[3, 0].numpy())
    for one in (digits[3], digits[3, 0].numpy(), picture, "shots/3.png", digits[3].permute(1, 2, 0).numpy()):
        (row,) = predictor(one)
        assert row == {"class": whole[3]["class"], "probability": pytest.approx(whole[3]["probability"])}
    for none in ([], digits[:0], digits[:0].numpy()):
        assert predictor(none) == [] and predictor.predict_array(none).shape == (0, 10)


def test_it_says_what_the_task_says_of_a_run_and_of_what_was_exported(home: Path) -> None:
    outcome = run_here(["task=predict", "ckpt=classes", "input=shots", "predict.top_k=2", "hydra.run.dir=p"], home)
    assert outcome.code == 0, outcome.err
    with (home / "p" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    checkpoint = next((home / "classes" / "checkpoints").glob("*.ckpt"))
    for path in ("classes", "classes/exports/onnx/model.onnx", "classes/exports/safetensors/model.safetensors"):
        with nnrun.predictor(path) as predictor:
            ours = predictor("shots", top_k=2)
            assert list(ours[0]) == [name for name in rows[0] if name != "path"]
            assert [row["class_2"] for row in ours] == [row["class_2"] for row in rows]
            for row, theirs in zip(ours, rows, strict=True):
                assert row["probability"] == pytest.approx(float(theirs["probability"]), abs=1e-5)
    with nnrun.predictor(checkpoint) as predictor:
        assert predictor.targets.names == tuple("0123456789")


@pytest.mark.parametrize("path", ["", "/exports/onnx/model.onnx"])
def test_labels_have_a_column_each_and_their_probability(path: str) -> None:
    x, _ = labelled(20, seed=2)
    network = nnrun.load("labels")
    assert network.targets.kind == "labels" and len(network.thresholds) == 3
    with torch.inference_mode():
        probabilities = network(network.preprocessing(torch.from_numpy(x)[:, None])).sigmoid().numpy()
    with nnrun.predictor(f"labels{path}") as predictor:
        np.testing.assert_allclose(predictor.predict_array(x), probabilities, atol=1e-5)
        rows = predictor(x)
        with pytest.raises(ConfigError, match="top_k=2 has no effect: there is no ranking of 3 labels"):
            predictor(x, top_k=2)
    names = network.targets.names
    assert list(rows[0]) == [*names, *(f"probability_{name}" for name in names)]
    assert [[row[name] for name in names] for row in rows] == (probabilities >= network.thresholds).astype(int).tolist()


@pytest.mark.parametrize("path", ["", "/exports/onnx/model.onnx"])
def test_values_are_in_the_units_of_the_data_and_so_are_those_of_load(path: str) -> None:
    """Negative control: the first value is about 1000; what the network learned is about 0."""
    x, y = valued(20, seed=2)
    network = nnrun.load("values")
    inputs = network.preprocessing(torch.from_numpy(x)[:, None])
    with torch.inference_mode():
        values = network(inputs).numpy()
        learned = network.forward(inputs).numpy()
    assert abs(values[:, 0].mean() - 1000) < 200 and abs(learned[:, 0].mean()) < 5
    with nnrun.predictor(f"values{path}") as predictor:
        array, rows = predictor.predict_array(x), predictor(x)
    np.testing.assert_allclose(array, values, rtol=1e-4, atol=1e-4)
    assert [list(row.values()) for row in rows] == array.tolist()
    assert list(rows[0]) == [f"prediction_{name}" for name in network.targets.names]
    assert y.shape == array.shape


def test_the_state_dict_of_what_load_gives_has_the_names_of_the_checkpoint() -> None:
    for kind in ("labels", "values"):
        (path,) = list(Path(kind).glob("checkpoints/*.ckpt"))[:1]
        assert list(nnrun.load(kind).state_dict()) == list(torch.load(path, weights_only=True)["model"])


def test_samples_that_are_floats_are_taken_as_arrays_alone() -> None:
    with nnrun.predictor("floats") as predictor:
        sample = np.load("floats.npz")["x_test"][0]
        (row,) = predictor(sample)
        assert predictor(sample.astype(np.float64)) == predictor([sample]) == predictor(sample.tolist()) == [row]
        assert predictor(sample.astype(">f4")) == [row], "of another order of bytes"
        with pytest.raises(DataError, match=r"on another scale"):
            predictor(10_000 * np.load("floats.npz")["x_test"])
        with pytest.raises(DataError, match="trained on samples stored as floats"):
            predictor("shots")


@pytest.mark.parametrize("path", ["", "/exports/onnx/model.onnx"])
def test_several_inputs_are_a_dict_of_arrays_or_a_list_of_dicts(
    home: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(home))
    draw = np.random.default_rng(0)
    pictures, vectors = draw.integers(0, 256, (6, 1, 4, 4), dtype=np.uint8), draw.normal(size=(6, 3))
    with nnrun.predictor(f"inputs{path}", trust=["two"]) as predictor:
        rows = predictor({"vector": vectors, "picture": pictures})
        assert rows == predictor([{"picture": p, "vector": v} for p, v in zip(pictures, vectors, strict=True)])
        assert predictor({"vector": vectors[0], "picture": pictures[0]}) == [pytest.approx(rows[0])]
        wanted = nnrun.load("inputs", trust=["two"]) if not path else None
        if wanted is not None:
            values = wanted(wanted.preprocessing({"picture": torch.tensor(pictures), "vector": torch.tensor(vectors)}))
            assert [row["prediction"] for row in rows] == pytest.approx(values[:, 0].tolist(), rel=1e-5)
        for given, says in (
            ({"vector": vectors}, "takes a dict of picture, vector, but was given vector"),
            ({"vector": vectors[:2], "picture": pictures}, "the same number of samples, but have 6, 2"),
            ({"vector": vectors, "picture": pictures[:, :, :3]}, r"picture: the network takes samples \(1, 4, 4\)"),
            ([{"vector": vectors[0], "picture": pictures[0], "sound": 1}], "was given vector, picture, sound"),
            (vectors, "takes a dict of picture, vector, but was given a ndarray"),
        ):
            with pytest.raises(DataError, match=says):
                predictor(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda x: x.float(), r"the samples are float32; the network takes pixels, uint8 from 0 to 255"),
        (lambda x: x[:, :, :5], r"takes samples \(1, 28, 28\), but was given an array \(12, 1, 5, 28\)"),
        (lambda _: {"x": 1}, r"takes one array of samples \(1, 28, 28\), but was given a dict"),
        (lambda x: [{"x": x[0]}], r"takes one array of samples \(1, 28, 28\), but was given a dict"),
        (lambda x: x.to_sparse(), r"expected a dense tensor, but this one is sparse"),
        (lambda x: x.to("meta"), r"expected a dense tensor, but this one is sparse"),
        (lambda x: [x[0], "shots/1.png"], r"cannot predict for a list of array and path"),
        (lambda _: [object()], r"cannot predict for a list of object"),
        (lambda _: None, r"^cannot predict for None; give a path, a text, a Pillow image, "),
        (lambda _: b"\x89PNG", r"^cannot predict for bytes; give a path, a text, a Pillow image, "),
        (lambda _: "nowhere.png", r"^nowhere\.png: .*matches nothing"),
        (lambda _: "two.py", r"two\.py is not an image"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    predictor: Predictor, digits: torch.Tensor, given: Callable[[torch.Tensor], Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        predictor(given(digits))


def test_a_damaged_file_is_refused_without_advice_for_a_data_set(predictor: Predictor, tmp_path: Path) -> None:
    """`data.on_bad=skip` is named where it is a setting: by a training and the task."""
    Image.new("L", (40, 40)).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg is damaged or truncated: .*; restore it$"):
        predictor(str(tmp_path / "cut.jpg"))


def test_images_of_another_size_and_kind_are_brought_to_what_the_network_takes(
    home: Path, predictor: Predictor, digits: torch.Tensor
) -> None:
    """A file and an image of Pillow's in the same way, as the task does."""
    large = Image.fromarray(digits[0, 0].numpy()).resize((90, 56)).convert("RGBA")
    large.save(home / "large.png")
    assert predictor(large) == predictor("large.png")
    outcome = run_here(["task=predict", "ckpt=classes", "input=large.png", "hydra.run.dir=large"], home)
    assert outcome.code == 0, outcome.err
    with (home / "large" / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert predictor(large)[0]["probability"] == pytest.approx(float(row["probability"]), abs=1e-5)


def test_what_a_stranger_names_is_refused_and_your_own_is_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    for open_one in (nnrun.predictor, nnrun.load):
        with pytest.raises(ArtifactError, match=r"trust=\[mynet\]"):
            open_one("own")
    monkeypatch.syspath_prepend(str(home))
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    nnrun.load("own", trust=["mynet"])
    assert torch.rand(1) == drawn, "its first weights are drawn, and not from the program's generator"
    assert nnrun.predictor("own", trust=["mynet"]).targets.names == tuple("0123456789")
    with pytest.raises(ArtifactError, match="nowhere"):
        nnrun.predictor("nowhere")
    with pytest.raises(ResourceError, match=r"^device=cuda:7: this machine has"):
        nnrun.predictor("classes", device="cuda:7")
    with pytest.raises(ConfigError, match=r"^device=gpu is not a device; allowed: auto, cpu"):
        nnrun.predictor("classes", device="gpu")
    torch.save(nnrun.load("classes").state_dict(), home / "bare.pt")
    with pytest.raises(ArtifactError, match="weights alone"):
        nnrun.predictor("bare.pt")


def test_what_the_program_has_set_changes_no_prediction_and_stays_set(
    predictor: Predictor, digits: torch.Tensor
) -> None:
    before = predictor.predict_array(digits)
    torch.set_float32_matmul_precision("medium")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert np.array_equal(predictor.predict_array(digits), before)
        assert torch.get_float32_matmul_precision() == "medium" and torch.get_default_dtype() == torch.float64
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_default_dtype(torch.float32)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("path", ["", "/exports/onnx/model.onnx"])
def test_calls_from_several_threads_take_turns(path: str, digits: torch.Tensor) -> None:
    with nnrun.predictor(f"classes{path}") as predictor:
        alone, seen = [predictor.predict_array(sample) for sample in digits], {}

        def call(index: int) -> None:
            seen[index] = [predictor.predict_array(digits[index]) for _ in range(5)]

        threads = [threading.Thread(target=call, args=(index,)) for index in range(len(digits))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(np.array_equal(array, alone[index]) for index, arrays in seen.items() for array in arrays)
    assert len(seen) == len(digits)


def test_many_samples_go_through_the_network_a_batch_at_a_time(digits: torch.Tensor) -> None:
    predictor = nnrun.predictor("classes")
    many, sizes = digits.repeat(60, 1, 1, 1), []
    outputs = predictor.outputs
    object.__setattr__(predictor, "outputs", lambda samples: sizes.append(len(samples)) or outputs(samples))
    assert len(predictor(many)) == 720
    assert sizes == [256, 256, 208]
