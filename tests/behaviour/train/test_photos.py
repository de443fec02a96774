"""A folder of photos: what they are brought to is said and saved, and is what predictions and exports do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nnrun
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_run
from nnrun.components.data.conversion import AS_BEFORE, Conversion
from nnrun.components.data.images import read_image
from support.command_line import run_here

WORDS = (
    "data=folder",
    "data.root=photos",
    "model=mlp",
    "model.hidden=[4]",
    "trainer.epochs=1",
    "trainer.progress=false",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos of each of two classes, as a phone takes them, and a run on them."""
    place = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for number in range(16):
        small = draw.integers(0, 120, (10, 14, 3), dtype=np.uint8) + 120 * (number % 2)
        exif = Image.Exif()
        exif[0x0112] = 6 if number % 3 == 0 else 1
        path = place / "photos" / ("dark", "light")[number % 2] / f"IMG_{number}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small.astype(np.uint8)).resize((800, 600), Image.Resampling.BICUBIC).save(path, exif=exif)
    (place / "out.txt").write_text(
        run_here([*WORDS, "data.resize=pad", "export=torchserve", "hydra.run.dir=r"], place).out
    )
    return place


def test_what_photos_are_brought_to_is_said_and_saved(place: Path) -> None:
    out = (place / "out.txt").read_text()
    assert (
        "resized and padded 16 of 16 images to 224x224 (of 2 different sizes); set another size with data.image_size"
        in out
    )
    data = read_run(locate(place / "r", "last")).config["data"]
    assert (data["image_size"], data["resize"], data["jpeg_draft"], data["in_shape"]) == (
        224,
        "pad",
        True,
        [3, 224, 224],
    )
    assert data["dataset"]["image_size"] == 224
    again = run_here(["ckpt=r", "hydra.run.dir=again"], place)
    metrics = [json.loads((place / run / "summary.json").read_text())["metrics"] for run in ("r", "again")]
    assert again.code == 0 and metrics[0]["test/loss"] == metrics[1]["test/loss"]


def test_predictions_and_the_handler_read_photos_in_the_same_way(place: Path) -> None:
    path = place / "photos" / "dark" / "IMG_0.JPG"
    with nnrun.predictor(place / "r") as predictor:
        of_file = predictor.predict_array(path)
        same, other = (
            predictor.predict_array(read_image(path, 3, (224, 224), how))
            for how in (Conversion(None, "pad", True), AS_BEFORE)
        )
    assert np.array_equal(of_file, same) and not np.array_equal(of_file, other)
    with zipfile.ZipFile(place / "r" / "exports" / "torchserve" / "model.mar") as archive:
        card = json.loads(archive.read("model.json"))
    assert (card["resize"], card["jpeg_draft"]) == ("pad", "true")
    assert torch.equal(torch.tensor(card["in_shape"]), torch.tensor([3, 224, 224]))
