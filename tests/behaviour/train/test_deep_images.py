"""Images of more than 8 bits: what is taken for white, what is said of it, and that every reader takes the same."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from nnrun.base.errors import DataError
from nnrun.base.targets import Targets
from nnrun.components.data.conversion import Conversion
from nnrun.components.data.folder import Folder
from nnrun.components.data.images import decode, read_image
from nnrun.components.data.pixels import read_pixels
from nnrun.components.exporters.deployed import ArtifactForm
from nnrun.components.problems.classification import Classification
from nnrun.config.from_checkpoint import as_meant
from nnrun.core.seams.data import Dataset
from support.command_line import run_here
from support.pictures import SETTINGS
from support.small_runs import summary


def make(root: Path, high: int, number: int = 10, suffix: str = "png") -> np.ndarray:
    """Two classes of deep pictures, the second brighter, whose largest value is `high`; return all of them."""
    draw = np.random.default_rng(0)
    pictures = []
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            values = draw.integers(0, high // 3, (8, 8)) + label * high // 2
            values[0, 0] = high
            pictures.append(values)
            Image.fromarray(values.astype(np.uint16)).save(root / name / f"{index}.{suffix}")
    return np.stack(pictures)


def load(root: Path, **changes) -> Dataset:
    return Folder(str(root), **(SETTINGS | changes)).load()


def pixels_of(data: Dataset) -> torch.Tensor:
    samples = torch.cat([data.train.inputs.loaded(), data.test.inputs.loaded()])
    names = [*data.train.names, *data.test.names]
    return samples[sorted(range(len(names)), key=lambda i: (Path(names[i]).parent.name, int(Path(names[i]).stem)))]


def scaled(values: np.ndarray, white: int) -> torch.Tensor:
    """What becomes of values, rounded to the nearest."""
    return torch.from_numpy(np.floor(np.minimum(values * (255 / white) + 0.5, 255)).astype(np.uint8))[:, None]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NNRUN_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("high", "white"), [(119, 255), (255, 255), (256, 1023), (1000, 1023), (4095, 4095), (9000, 16383), (40000, 65535)]
)
def test_white_is_the_largest_value_of_the_depth_that_is_used(tmp_path: Path, high: int, white: int) -> None:
    """By 65535 alone, values up to 255 would be 0 and 1, and nobody would know."""
    values = make(tmp_path / "a", high)
    data = load(tmp_path / "a")
    assert data.became == {"targets": "classes", "white": white}
    assert torch.equal(pixels_of(data), scaled(values, white))
    said = [note for note in data.findings.notes if "bits" in note]
    if white < 65535:
        assert said == [
            f"20 images of 16 or 32 bits use only 0..{high} of 65535: {white} is used as white (data.white)"
        ]
    else:
        assert said == []
    assert load(tmp_path / "a").findings == data.findings, "out of the cache too"


def test_white_is_as_it_is_set_and_what_is_above_it_is_counted(tmp_path: Path) -> None:
    values = make(tmp_path / "a", 1000)
    data = load(tmp_path / "a", white=500)
    assert torch.equal(pixels_of(data), scaled(values, 500))
    assert (
        "20 of 20 images of 16 or 32 bits have values above data.white=500; these become white" in data.findings.notes
    )
    old = load(tmp_path / "a", white=None)
    assert torch.equal(pixels_of(old), scaled(values, 65535)), "what an older run did"
    assert old.became == {"targets": "classes", "white": None}
    (note,) = [note for note in old.findings.notes if "bits" in note]
    assert note.startswith("20 of 20 images of 16 or 32 bits use only 0..1000 of 65535, which leaves 4 gray levels")
    assert note.endswith("set data.white=1023 to make 1023 white")


def test_one_bright_file_among_dark_ones_decides_and_that_is_said(tmp_path: Path) -> None:
    make(tmp_path / "a", 4000)
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(tmp_path / "a" / "dark" / "11.png")
    data = load(tmp_path / "a")
    assert data.became == {"targets": "classes", "white": 65535}
    assert any(
        "20 of 21 images of 16 or 32 bits use only 0..4000 of 65535, which leaves 16 gray levels" in note
        and "data.white=4095" in note
        for note in data.findings.notes
    )


def test_images_of_8_bits_do_not_change_what_is_white(tmp_path: Path) -> None:
    make(tmp_path / "a", 200)
    for path in (tmp_path / "a").rglob("*.png"):
        Image.open(path).convert("L").save(path)
    data = load(tmp_path / "a")
    assert data.became == {"targets": "classes", "white": None}
    assert not any("white" in note for note in data.findings.notes)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("I;16", "png"), ("I;16", "tif"), ("I", "tif"), ("I;16B", "tif"), ("F", "tif")]
)
def test_every_reader_takes_the_same_for_white(tmp_path: Path, mode: str, suffix: str) -> None:
    values = np.arange(64).reshape(8, 8) * 65
    path = tmp_path / f"a.{suffix}"
    kind = np.float32 if mode == "F" else np.int32 if mode == "I" else np.uint16 if mode == "I;16" else ">u2"
    Image.fromarray(values.astype(kind)).save(path)
    assert Image.open(path).mode == mode
    for size in (None, (6, 4)):
        ours = read_image(path, 1, size, Conversion(4095))
        assert torch.equal(ours, read_pixels(path.read_bytes(), 1, size, Conversion(4095)))
    assert torch.equal(read_image(path, 1, None, Conversion(4095))[None], scaled(values[None], 4095))


def test_floats_are_read_where_white_is_set_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, 0.25], [0.5, 1]], np.float32)).save(path)
    with pytest.raises(DataError, match=r"its pixels are floats of unknown range; set data\.white"):
        read_image(path, 1, None)
    assert read_image(path, 1, None, Conversion(1.0))[0].tolist() == [[0, 64], [128, 255]]
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(path)
    with pytest.raises(DataError, match="its pixels"):
        read_image(path, 1, None, Conversion(1.0))


def png_of_48_bits(path: Path, values: np.ndarray) -> None:
    """Pillow writes none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(("high", "is_said"), [(4095, True), (65535, False)])
def test_deep_colours_in_few_levels_are_said(tmp_path: Path, high: int, is_said: bool) -> None:
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for index in range(8):
            png_of_48_bits(tmp_path / "x" / name / f"{index}.png", draw.integers(0, high + 1, (8, 8, 3)))
    data = load(tmp_path / "x")
    assert any(note == "converted to RGB: 16 RGB;16" for note in data.findings.notes)
    said = "16 of 16 color images with 16 bits per channel use fewer than 32 of 256 levels"
    assert any(said in note for note in data.findings.notes) is is_said


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "MPO"])
def test_of_several_pictures_in_a_file_the_first_is_taken_and_that_is_said(tmp_path: Path, kind: str) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (40, 200))
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for index in range(6):
            suffix = {"TIFF": "tif", "MPO": "jpg"}.get(kind, kind.lower())
            path = tmp_path / "x" / name / f"{index}.{suffix}"
            first.save(path, kind, **({"save_all": True, "append_images": [second]} if index == 0 else {}))
    data = load(tmp_path / "x")
    assert "used the first image of 2 files that have several (animations, pages)" in data.findings.notes
    assert data.findings.facts["several_pictures"] == 2
    assert data.findings.facts["cropped"] == 0
    assert abs(int(pixels_of(data).float().mean()) - 40) <= 2


def test_a_cut_second_picture_is_no_damage(tmp_path: Path) -> None:
    file = io.BytesIO()
    first, second = (Image.fromarray(np.full((30, 30), shade, np.uint8)) for shade in (40, 200))
    first.save(file, "GIF", save_all=True, append_images=[second])
    path = tmp_path / "a.gif"
    path.write_bytes(file.getvalue()[:-30])
    assert decode(path, 1, None)[1].unique().tolist() == [40]


def test_crops_are_called_crops(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for index, size in enumerate([(12, 12)] * 6 + [(24, 24), (24, 12)]):
            Image.new("L", size, index + 100 * (name == "a")).save(tmp_path / "x" / name / f"{index}.png")
    data = load(tmp_path / "x")
    assert data.findings.notes == ("resized 4 of 16 images to 12x12, 2 of them center-cropped (of 3 different sizes)",)
    assert (data.findings.facts["resized"], data.findings.facts["cropped"]) == (4, 2)


def test_a_file_of_an_earlier_version_keeps_its_rule_for_white() -> None:
    section = {"_target_": "nnrun.components.data.folder.Folder", "root": "x"}
    old = as_meant({"data": {"name": "folder", "dataset": section}})
    assert (old["data"]["white"], old["data"]["dataset"]["white"]) == (None, None)


def test_the_scale_of_a_run_is_that_of_its_predictions_and_exports(tmp_path: Path) -> None:
    """Read by 65535, the pictures that are predicted for would all be black."""
    make(tmp_path / "x", 1000, 20)
    words = ["data=folder", "data.root=x", "model=mlp", "model.hidden=[8]", "data.batch_size=8", "trainer.epochs=8"]
    words += ["data.val_fraction=0", "early_stopping=none", "trainer.progress=false", "export=onnx", "hydra.run.dir=r"]
    done = run_here(words, tmp_path)
    assert (done.code, done.err) == (0, "")
    assert summary(tmp_path / "r")["metrics"]["test/accuracy"] == 1
    for number, network in enumerate(("r", "r/exports/onnx/model.onnx")):
        done = run_here(["task=predict", f"ckpt={network}", "input=x", f"hydra.run.dir=p{number}"], tmp_path)
        assert (done.code, done.err) == (0, "")
        assert "40 images of 16 or 32 bits use only 0..1000 of 65535: 1023 is used as white" in " ".join(
            done.out.split()
        )
        with (tmp_path / f"p{number}" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(row["class"] in row["path"] and float(row["probability"]) > 0.6 for row in rows)
    typed = run_here(["task=predict", "ckpt=r", "input=x", "data.white=65535", "hydra.run.dir=p2"], tmp_path)
    assert "use only 0..1000 of 65535, which leaves 4 gray levels" in " ".join(typed.out.split())
    # Measured on other data, deep or not, the run keeps its scale.
    make(tmp_path / "y", 60000, 20)
    other = run_here(["ckpt=r", "data.root=y", "hydra.run.dir=e"], tmp_path)
    assert "40 of 40 images of 16 or 32 bits have values above data.white=1023" in " ".join(other.out.split())


def test_artifacts_say_what_is_white() -> None:
    class Context:
        problem, targets, run_id, score = Classification(Targets.classes("ab")), Targets.classes("ab"), "r", 1.0
        preprocessing = type("P", (), {"to_plain": lambda _: {}})()
        example, in_shape = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), None
        config: ClassVar = {"data": {"white": 1023.0}}

    form = ArtifactForm(True, "scores")
    assert form.metadata(Context())["white"] == "1023"
    Context.config = {"data": {"white": None}}
    assert "white" not in json.dumps(form.metadata(Context()))
