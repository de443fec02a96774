"""Files that earlier versions wrote (tests/data/VERSION/make.sh) keep working, and keep meaning what they meant."""

from __future__ import annotations

import csv
import functools
import json
import math
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nnrun
from nnrun.cli import main

DATA = Path(__file__).parents[2] / "data"


@dataclass(frozen=True)
class Files:
    """What the files of a version are, and what is typed to use them where they lie now.

    `runs`: beside `ckpt=`, the words that find the data: the same samples at another place are the run's own, and are
    split as it split them. `predicted`: an artifact and its images, by the folder of what was said of them. `resumed`:
    words beside `resume=`, and the run that says where it would have come. `loaded`: what nnrun.load reads, with the
    shape of a sample and the names of what was learned. `started`: words of new runs. `finished`: runs that no
    `resume=` takes on.
    """

    runs: Mapping[str, tuple[str, ...]]
    predicted: Mapping[str, tuple[str, str]]
    resumed: Mapping[str, tuple[tuple[str, ...], str]]
    loaded: Mapping[str, tuple[tuple[int, ...], Sequence[str]]]
    started: tuple[tuple[str, ...], ...]
    finished: tuple[str, ...]


MNIST = ("data=mnist", "data.root=sets")
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CNN = ("model=cnn", "model.channels=[2,3]", "model.hidden=4")
TINY_CNN = ("model=cnn", "model.channels=[2,2]", "model.hidden=2")
VERSIONS = {
    "0.1.0": Files(
        runs={
            "mlp": (),
            "cnn_ema": (),
            "resnet18_frozen": (),
            "folder": ("data.root=photos",),
            "deep16": ("data.root=deep",),
            "arrays": ("data.root=arrays.npz",),
            "own": ("model=mynet",),
        },
        predicted={
            "folder": ("folder", "photos"),
            "deep16": ("deep16", "deep"),
            "folder_onnx": ("folder/exports/onnx/model.onnx", "photos"),
            "arrays_safetensors": ("arrays/exports/safetensors/model.safetensors", "images.npy"),
        },
        resumed={"interrupted": ((), "uninterrupted")},
        loaded={
            "mlp": ((1, 28, 28), "0123456789"),
            "mlp/exports/safetensors/model.safetensors": ((1, 28, 28), "0123456789"),
            "cnn_ema": ((1, 28, 28), "0123456789"),
        },
        started=(
            ("init_from=mlp", "model=mlp", "model.hidden=[2]", "data.limit=64"),
            (
                "init_from=arrays/exports/safetensors/model.safetensors",
                *("data=arrays", "data.root=arrays.npz", "model=mlp", "model.hidden=[4]"),
            ),
            ("transfer.weights=cnn_ema", *CNN, "model.batchnorm=true", "data.limit=64"),
        ),
        finished=("mlp", "cnn_ema", "folder", "arrays"),
    ),
    "0.2.0": Files(
        runs={
            "mlp": ("data.root=sets",),
            "cnn_ema": (),
            "resnet18": ("data.root=photos",),
            "folder": ("data.root=photos",),
            "folder_before": ("data.root=photos",),
            "deep16": ("data.root=deep",),
            "deep16_before": ("data.root=deep",),
            "deep16_white": ("data.root=deep",),
            "arrays": ("data.root=arrays.npz",),
            "floats": ("data.root=floats.npz",),
            "floats_before": ("data.root=floats.npz",),
            "own": ("model=mynet",),
            "own_data": ("trust=[mydata]",),
            "mnist": ("data.root=sets",),
            "fashion": ("data.root=sets",),
            "kmnist": ("data.root=sets",),
            "cifar10": ("data.root=sets",),
            "cifar100": ("data.root=sets",),
            "shufflenet": ("data.root=deep",),
            "timm": ("data.root=photos",),
            "torchvision_set": ("data.root=sets",),
            "from_kmnist": ("data.root=sets",),
            "unfrozen": ("data.root=sets",),
            "longer": ("data.root=sets",),
        },
        predicted={
            "folder": ("folder", "photos"),
            "folder_before": ("folder_before", "photos"),
            "deep16": ("deep16", "deep"),
            "deep16_before": ("deep16_before", "deep"),
            "deep16_white": ("deep16_white", "deep"),
            "folder_onnx": ("folder/exports/onnx/model.onnx", "photos"),
            "folder_before_onnx": ("folder_before/exports/onnx/model.onnx", "photos"),
            "arrays_safetensors": ("arrays/exports/safetensors/model.safetensors", "images.npy"),
            "mnist_int8": ("mnist/exports/onnx_int8/model.onnx", "mnist.npy"),
        },
        resumed={
            "interrupted": (("data.root=sets",), "uninterrupted"),
            "fashion_stopped": (("data.root=sets",), "fashion"),
            "kmnist_stopped": (("data.root=sets", "export=none"), "kmnist"),
            "cifar10_stopped": (("data.root=sets",), "cifar10"),
            "finished": (("data.root=sets", "trainer.epochs=2"), "longer"),
        },
        loaded={
            "mlp": ((1, 12, 12), "0123456789"),
            "mlp/exports/safetensors/model.safetensors": ((1, 12, 12), "0123456789"),
            "cnn_ema": ((1, 28, 28), "0123456789"),
            "resnet18": ((1, 8, 8), ("1", "2", "10")),
            "folder_before": ((1, 8, 8), ("1", "10", "2")),
            "arrays/exports/safetensors/model.safetensors": ((1, 6, 6), ("0", "5", "10")),
            "floats/exports/safetensors/model.safetensors": ((1, 6, 6), ("1", "2", "10")),
            "floats_before": ((1, 6, 6), ("1", "10", "2")),
            "fashion": ((1, 12, 12), FASHION),
            "cifar10": ((3, 32, 32), [f"class {number}" for number in range(10)]),
            "shufflenet": ((1, 8, 8), ("dark", "light")),
            "timm": ((1, 8, 8), ("1", "2", "10")),
            "sweep/0_optimizer.lr-0.001": ((1, 6, 6), ("0", "5", "10")),
        },
        started=(
            ("init_from=mlp", *MNIST, "model=mlp", "model.hidden=[2]"),
            (
                "init_from=sweep/1_optimizer.lr-0.01",
                "data=arrays",
                "data.root=arrays.npz",
                "model=mlp",
                "model.hidden=[4]",
            ),
            (
                "init_from=floats/exports/safetensors/model.safetensors",
                *("data=arrays", "data.root=floats.npz", "model=mlp", "model.hidden=[4]"),
            ),
            ("transfer.weights=mnist", *MNIST, *CNN, "transfer.freeze=backbone"),
        ),
        finished=("mlp", "mnist", "fashion", "kmnist", "floats", "torchvision_set", "longer"),
    ),
    "0.3.0": Files(
        runs={"mlp": ("data.root=sets",), "folder": ("data.root=photos",), "own": ("model=mynet", "data.root=sets")},
        predicted={"folder": ("folder", "photos"), "folder_onnx": ("folder/exports/onnx/model.onnx", "photos")},
        resumed={"interrupted": (("data.root=sets",), "uninterrupted")},
        loaded={
            "mlp": ((1, 12, 12), "0123456789"),
            "mlp/exports/safetensors/model.safetensors": ((1, 12, 12), "0123456789"),
            "folder": ((1, 12, 12), ("1", "2", "10")),
        },
        started=(("init_from=mlp", *MNIST, "model=mlp", "model.hidden=[2]"),),
        finished=("mlp", "folder"),
    ),
    "0.4.0": Files(
        runs={
            "labels": ("data.root=scenes",),
            "values": ("data.root=values.npz",),
            "photographs": ("data.root=photos",),
            "sized": ("data.root=photos",),
            "own": ("model=mynet", "loss=myloss", "data.root=photos"),
        },
        predicted={
            "labels": ("labels", "scenes"),
            "labels_onnx": ("labels/exports/onnx/model.onnx", "scenes"),
            "values": ("values", "values.npy"),
            "values_safetensors": ("values/exports/safetensors/model.safetensors", "values.npy"),
            "photographs": ("photographs", "photos"),
            "photographs_onnx": ("photographs/exports/onnx/model.onnx", "photos"),
            "sized": ("sized", "photos"),
        },
        resumed={"interrupted": (("data.root=values.npz",), "uninterrupted")},
        loaded={
            "labels": ((1, 10, 10), ("dark", "wide")),
            "values/exports/safetensors/model.safetensors": ((1, 10, 10), ("value_0", "value_1")),
            "photographs": ((3, 240, 320), ("shore", "wood")),
        },
        started=(
            ("init_from=labels", "data=folder", "data.root=scenes", *TINY_CNN),
            ("init_from=sized", "data=folder", "data.root=photos", "data.image_size=[64,48]", *TINY_CNN),
        ),
        finished=("labels", "values"),
    ),
    "0.5.0": Files(
        runs={
            "photographs": ("data.root=photos",),
            "table": ("data.root=train.csv",),
            "own": ("model=both", "loss=smooth", "data.root=train.csv"),
        },
        predicted={
            "photographs": ("photographs", "photos"),
            "table": ("table", "images.npy"),
            "table_onnx": ("table/exports/onnx/model.onnx", "images.npy"),
        },
        resumed={"interrupted": (("data.root=train.csv",), "uninterrupted")},
        loaded={
            "photographs": ((3, 224, 224), ("shore", "wood")),
            "table/exports/safetensors/model.safetensors": ((1, 6, 6), "0123"),
        },
        started=(),
        finished=("table",),
    ),
    "0.6.0": Files(
        runs={"measured": ("data.root=images.npz",), "watched": ("data.root=images.npz",)},
        predicted={
            "measured": ("measured", "images.npy"),
            "measured_onnx": ("measured/exports/onnx/model.onnx", "images.npy"),
        },
        resumed={"interrupted": (("data.root=images.npz",), "uninterrupted")},
        loaded={"measured": ((1, 8, 8), ("dark", "gray", "light"))},
        started=(),
        finished=("measured",),
    ),
    "0.7.0": Files(
        runs={"fold": ("data.root=images.npz",), "stacked/best": ("data.root=images.npz",)},
        predicted={"fold": ("fold", "images.npy"), "fold_onnx": ("fold/exports/onnx/model.onnx", "images.npy")},
        resumed={
            "interrupted": (("data.root=images.npz",), "uninterrupted"),
            "untested": (("data.root=images.npz", "trainer.test=true"), "tested"),
        },
        loaded={"fold": ((1, 6, 6), "012")},
        started=(),
        finished=("tested",),
    ),
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a version's files, with the cache that was filled then."""

    @functools.cache
    def unpack(version: str) -> Path:
        folder = tmp_path_factory.mktemp("old")
        with tarfile.open(DATA / version / "files.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return folder

    return unpack


@pytest.fixture
def old(
    request: pytest.FixtureRequest, unpacked: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A version's files; the folder is the working directory."""
    folder = unpacked(request.param)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NNRUN_CACHE", str(folder / "cache"))
    yield folder
    for name in ("mynet", "mydata", "mine"):
        sys.modules.pop(name, None)  # the other version, and other tests, have one of that name


def each(table: str, *names: str) -> pytest.MarkDecorator:
    """Run a test with each row of a table of each version: with its key, and with its value where it has one."""
    rows = []
    for version, files in VERSIONS.items():
        found = getattr(files, table)
        for key in found:
            name = key if isinstance(key, str) else key[0]
            lacks_timm = name == "timm" and find_spec("timm") is None
            marks = pytest.mark.skipif(lacks_timm, reason="timm is not installed")
            values = (key, found[key]) if isinstance(found, dict) else (key,)
            rows.append(pytest.param(version, *values, marks=marks, id=f"{version}-{name}"))
    return pytest.mark.parametrize(("old", *names), rows, indirect=["old"])


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def assert_same_metrics(new: dict[str, float], then: dict[str, float]) -> None:
    """Another processor's last bits apart. One sample in another part, or read otherwise, is far outside of that."""
    assert new.keys() == then.keys()
    for name, value in then.items():
        assert math.isclose(new[name], value, rel_tol=1e-4, abs_tol=1e-6), name


@each("runs", "run", "words")
def test_an_old_run_is_evaluated_on_the_samples_of_its_own_hold_out(
    old: Path, run: str, words: tuple[str, ...]
) -> None:
    assert main([f"ckpt={run}", *words, f"hydra.run.dir=now/{run}"]) == 0
    assert_same_metrics(results(old / "now" / run)["metrics"], results(old / "evaluated" / run)["metrics"])
    then, now = (results(old / at / run)["details"]["test"] for at in ("evaluated", "now"))
    (table,) = {"per_class", "per_label", "per_target"} & then.keys()
    for column in {"class", "label", "target", "samples"} & then[table][0].keys():
        assert [row[column] for row in now[table]] == [row[column] for row in then[table]]


def predictions(folder: Path) -> dict[str, dict[str, str]]:
    """What is said of each picture: which of two rows comes first may change, and that may not."""
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    key = "path" if "path" in rows[0] else next(iter(rows[0]))
    return {row[key]: row for row in rows}


@each("predicted", "name", "source")
def test_old_networks_and_artifacts_predict_as_they_did(old: Path, name: str, source: tuple[str, str]) -> None:
    path, images = source
    assert main(["task=predict", f"ckpt={path}", f"input={images}", f"hydra.run.dir=now/predicted_{name}"]) == 0
    then, now = predictions(old / "predicted" / name), predictions(old / "now" / f"predicted_{name}")
    assert now.keys() == then.keys()
    # Another processor rounds sums of int8 otherwise.
    tolerance = 0.05 if "int8" in name else 1e-4
    for picture, row in then.items():
        for column, said in row.items():
            if column.startswith(("probability", "prediction")):
                assert math.isclose(float(now[picture][column]), float(said), rel_tol=tolerance)
            else:
                assert now[picture][column] == said or "int8" in name


@each("resumed", "run", "how")
def test_an_old_run_is_resumed_to_where_it_would_have_come(
    old: Path, run: str, how: tuple[tuple[str, ...], str]
) -> None:
    words, result = how
    shutil.copytree(old / run, old / "now" / f"resumed_{run}")
    assert main([f"resume=now/resumed_{run}", *words]) == 0
    assert_same_metrics(results(old / "now" / f"resumed_{run}")["metrics"], results(old / result)["metrics"])


@pytest.mark.parametrize("old", ["0.7.0"], indirect=True)
def test_an_old_sweep_is_resumed_to_where_it_would_have_come(old: Path) -> None:
    def jobs(folder: str) -> dict[int, dict[str, float]]:
        return {job["number"]: job["metrics"] for job in json.loads((old / folder / "sweep.json").read_text())["jobs"]}

    before = (old / "halfway" / "0_optimizer.lr-0.001" / "summary.json").read_bytes()
    assert main(["-m", "resume=halfway"]) == 0
    now, then = jobs("halfway"), jobs("swept")
    assert sorted(now) == [0, 1, 2] == sorted(then)
    for job, metrics in then.items():
        assert_same_metrics(now[job], metrics)
    assert (old / "halfway" / "0_optimizer.lr-0.001" / "summary.json").read_bytes() == before, "it was finished"


@each("finished", "run")
def test_an_old_run_that_is_finished_stays_so(old: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(old / run)
    assert main([f"resume={run}"]) == 0
    assert "is finished after" in capsys.readouterr().out
    assert results(old / run) == before


@each("loaded", "path", "what")
def test_python_loads_old_files(old: Path, path: str, what: tuple[tuple[int, ...], Sequence[str]]) -> None:
    in_shape, class_names = what
    network = nnrun.load(path)
    images = torch.zeros(2, *in_shape, dtype=torch.uint8)
    assert network(network.preprocessing(images)).shape == (2, len(class_names))
    assert tuple(network.targets.names) == tuple(class_names)


@each("started", "words")
def test_new_runs_start_from_old_weights(old: Path, words: tuple[str, ...]) -> None:
    more = ["trainer.epochs=1", "data.batch_size=8", "export=none", "trainer.progress=false"]
    assert main([*words, *more, f"hydra.run.dir=now/from_{abs(hash(words))}"]) == 0


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")
@pytest.mark.parametrize("old", ["0.2.0"], indirect=True)
def test_old_artifacts_of_pytorch_s_own_give_the_scores_of_the_network(old: Path) -> None:
    """They need no nnrun, and hold what the network, its preprocessing included, meant when they were written."""
    network = nnrun.load("floats")
    raw = torch.from_numpy(np.load("floats.npy"))[:, None]
    scores = network(network.preprocessing(raw))
    exports = Path("floats", "exports")
    for artifact in (
        torch.jit.load(exports / "torchscript" / "model.pt"),
        torch.export.load(exports / "pt2" / "model.pt2").module(),
    ):
        torch.testing.assert_close(artifact(raw), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("old", ["0.2.0"], indirect=True)
def test_the_link_to_the_latest_run_goes_back_to_what_an_old_lost_run_found(old: Path) -> None:
    lost, latest = old / "now" / "lost", old / "outputs" / "latest"
    lost.mkdir(parents=True)
    shutil.copy(old / "kmnist_stopped" / "status.json", lost)
    latest.parent.mkdir(exist_ok=True)
    latest.unlink(missing_ok=True)
    latest.symlink_to("../now/lost")
    assert main(["ckpt=outputs/latest", "data.root=sets", "hydra.run.dir=now/latest"]) == 0
    assert str(latest.readlink()) == "../kmnist"
    assert_same_metrics(results(old / "now" / "latest")["metrics"], results(old / "evaluated" / "kmnist")["metrics"])
