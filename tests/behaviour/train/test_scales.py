"""Pixels and floats, 0..1 and 0..255: what is known to be on another scale is refused, and dark pictures are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nnrun.assembly.data.scales import FLOATS, PIXELS, scale_fault
from support.command_line import run_here, write_files
from support.pictures import CLASSES, OWN_DATA_FILES, OWN_DATA_YAML, arrays, make_folder

pytestmark = pytest.mark.usefixtures("warm_python")

WORDS = ["model=mlp", "model.hidden=8", "data.batch_size=8", "trainer.epochs=1", "trainer.progress=false"]
X, Y = arrays(20)
NEW, NEW_Y = arrays(5, seed=1)
OF_255 = ["data.dataset.mean=[123.675]", "data.dataset.std=[58.395]"]
KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "pixels": lambda x: x,
    "floats": lambda x: (x / 255).astype(np.float32),
    "floats to 255": lambda x: x.astype(np.float32),
    "bits": lambda x: x > 127,
}
# What a network learned and what it is given: refused where another scale is certain.
REFUSED = {
    ("pixels", "floats"): "holds float32",
    ("pixels", "floats to 255"): "holds float32",
    ("pixels", "bits"): "another scale",
    ("floats", "pixels"): "holds uint8",
    ("floats", "floats to 255"): "another scale",
    ("floats to 255", "floats"): "another scale",
    ("bits", "pixels"): "another scale",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("scales")
    for kind, make in KINDS.items():
        name = kind.replace(" ", "_")
        np.savez(home / f"{name}.npz", x=make(X), y=Y)
        np.savez(home / f"{name}_new.npz", x=make(NEW), y=NEW_Y)
        words = ["data=arrays", f"data.root={name}.npz", f"hydra.run.dir={name}", "export=none"]
        if name == "pixels":
            words[-1] = "export=onnx"
        assert run_here([*WORDS, *words], home).code == 0
    return home


@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("learned", KINDS)
def test_data_of_another_kind_than_the_network_learned_are_refused(
    home: Path, tmp_path: Path, learned: str, given: str
) -> None:
    """The negative controls: its own kind is measured, and proven."""
    name, other = (kind.replace(" ", "_") for kind in (learned, given))
    words = [f"ckpt={name}", f"data.root={other}_new.npz", f"hydra.run.dir={tmp_path / 'e'}", "export=torchscript"]
    done = run_here(words, home)
    reason = REFUSED.get((learned, given))
    if reason is None and learned == given:
        assert done.code == 0, done.err
    elif reason is not None:
        assert done.code == 3
        assert reason in done.err
        assert not (tmp_path / "e" / "exports").exists()


def test_a_prediction_of_arrays_on_another_scale_is_refused(home: Path) -> None:
    for kind, make in KINDS.items():
        np.save(home / f"{kind.replace(' ', '_')}.npy", make(NEW))
    np.save(home / "bits_as_pixels.npy", (NEW > 127).astype(np.uint8))
    for ckpt in ("pixels", "pixels/exports/onnx/model.onnx"):
        for name in ("floats", "floats_to_255", "bits", "bits_as_pixels"):
            done = run_here(["task=predict", f"ckpt={ckpt}", f"input={name}.npy"], home)
            assert (done.code, "Traceback" in done.err) == (3, False), (ckpt, name, done.err)
        done = run_here(["task=predict", f"ckpt={ckpt}", "input=pixels.npy"], home)
        assert done.code == 0, done.err
    done = run_here(["task=predict", "ckpt=floats", "input=pixels.npy"], home)
    assert (done.code, "stored as floats" in done.err) == (3, True), "the network learned no pixels"


@pytest.mark.parametrize("scale", [0.02, 0.2, 1, 1.5])
def test_dark_and_bright_pictures_are_no_other_scale(scale: float) -> None:
    pixels = (torch.from_numpy(X).float() * scale).clamp(max=255)
    assert scale_fault({"_target_": PIXELS, "mean": [0.3], "std": [0.25]}, pixels.to(torch.uint8)) is None
    assert scale_fault({"_target_": FLOATS, "mean": [76.0], "std": [64.0]}, pixels) is None
    assert scale_fault({"_target_": FLOATS, "mean": [0.3], "std": [0.25]}, pixels / 255) is None


def test_black_pictures_and_a_preprocessing_of_one_s_own_are_no_other_scale() -> None:
    black = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    assert scale_fault({"_target_": PIXELS, "mean": [0.3], "std": [0.25]}, black) is None
    assert scale_fault({"_target_": "mine.Own", "mean": [0.3], "std": [0.25]}, black + 1) is None
    nearly_black = torch.zeros(3, 1, 4, 4)
    nearly_black[0, 0, 0, 0] = 1
    assert scale_fault({"_target_": FLOATS, "mean": [76.0], "std": [64.0]}, nearly_black) is None


def test_a_mean_of_0_to_255_is_refused_before_pixels_are_read(tmp_path: Path) -> None:
    """The negative control: what is of 0..1 is taken."""
    for words in (["data=folder", "data.root=nowhere"], ["data=torchvision", "data.dataset.name=FakeData"]):
        done = run_here([*WORDS, *words, *OF_255], tmp_path)
        assert done.code == 2
        assert "data.dataset.mean=[123.675] is not for pixels in 0..1; divide it by 255" in done.err
        assert "data.dataset.std=[58.395]" in done.err
    make_folder(tmp_path / "pics", {"": 10})
    words = [*WORDS, "data=folder", "data.root=pics", "export=none", "hydra.run.dir=run"]
    assert run_here([*words, "data.dataset.mean=[0.485]", "data.dataset.std=[0.229]"], tmp_path).code == 0
    done = run_here(["ckpt=run", *OF_255], tmp_path)
    assert (done.code, "data.dataset.mean has no effect with ckpt=" in done.out) == (0, True), done.err


@pytest.mark.parametrize(("kind", "code"), [("pixels", 2), ("floats", 2), ("floats_to_255", 0)])
def test_a_mean_of_0_to_255_is_refused_of_arrays_that_are_not_on_that_scale(home: Path, kind: str, code: int) -> None:
    done = run_here([*WORDS, "data=arrays", f"data.root={kind}.npz", "export=none", *OF_255], home)
    assert done.code == code, done.err
    if code:
        assert "data.dataset.mean" in done.err


TRANSFORMED = """\
import torch
from support.pictures import arrays

class ToTensor:
    def __call__(self, x):
        return torch.from_numpy(x)[None] / 255

class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std
    def __call__(self, x):
        return (x - self.mean[0]) / self.std[0]

class Compose:
    def __init__(self, transforms):
        self.transforms = transforms
    def __call__(self, x):
        for step in self.transforms:
            x = step(x)
        return x

class MyData:
    classes = ["ant", "bee", "cat"]

    def __init__(self, train, mean=(0.5,), std=(0.5,)):
        self.x, self.y = arrays(20 if train else 5, seed=int(not train))
        self.transform = Compose([ToTensor(), Compose([Normalize(mean, std)])])

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return self.transform(self.x[index]), int(self.y[index])
"""


def test_a_transform_of_one_s_own_with_a_mean_of_0_to_255_is_refused(tmp_path: Path) -> None:
    yaml = OWN_DATA_YAML.replace("kind: pillow\n  broken: null", "mean: [0.5]\n  std: [0.5]")
    write_files(tmp_path, OWN_DATA_FILES | {"mydata.py": TRANSFORMED, "conf/data/mine.yaml": yaml})
    words = [*WORDS, "data=mine", "export=none"]
    assert run_here(words, tmp_path).code == 0
    done = run_here([*words, "data.dataset.mean=[123.675]"], tmp_path)
    assert done.code == 2
    assert "its transform Normalize has the mean (123.675)" in done.err
    assert len(CLASSES) == 3
