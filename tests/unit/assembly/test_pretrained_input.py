"""What pretrained weights were trained on: as their libraries say it, and what of it holds where something is set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.preflight import prepare
from nnrun.assembly.pretrained_input import fitted, normalised_as_trained, sized_as_trained, trained_input
from nnrun.base.targets import Targets
from nnrun.checkpoints.trained_on import TrainedOn
from nnrun.cli import compose
from nnrun.components.data.normalize import Normalize, Standardize
from nnrun.components.models.resnet18 import ResNet18
from nnrun.config.composed import Composed
from nnrun.core.seams.data import Split

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THEIRS = TrainedOn("theirs", (224, 224), MEAN, STD, 1000)
RESNET = {"_target_": "nnrun.components.models.resnet18.ResNet18"}


def of(name: str, library: str = "torchvision", class_name: str = "Torchvision") -> dict[str, Any]:
    return {"_target_": f"nnrun.components.models.{library}.{class_name}", "name": name}


def test_published_weights_say_what_they_were_trained_on() -> None:
    """ResNet-18's are written down, since torchvision takes seconds to import: they are what it says."""
    said = models.ResNet18_Weights.DEFAULT.transforms()
    found = trained_input(RESNET, "default", None)
    assert found is not None
    assert (found.size, found.mean, found.std) == ((said.crop_size[0],) * 2, tuple(said.mean), tuple(said.std))
    assert found.weights == f"torchvision's {models.ResNet18_Weights.DEFAULT}"
    assert ResNet18.trained_on({}, None).num_scores == len(models.ResNet18_Weights.DEFAULT.meta["categories"])
    assert len(models.ResNet18_Weights) == 1
    efficient = trained_input(of("efficientnet_b3"), "default", None)
    assert efficient is not None and efficient.size == (300, 300)
    timm = pytest.importorskip("timm")
    inception = trained_input(of("inception_v3", "timm", "Timm"), "default", None)
    config = timm.get_pretrained_cfg("inception_v3")
    assert inception == TrainedOn(inception.weights, config.input_size[1:], config.mean, config.std, config.num_classes)
    assert inception.weights == f"timm's inception_v3.{config.tag}"
    assert trained_input({"_target_": "nnrun.components.models.cnn.CNN"}, "default", None) is None
    assert trained_input(RESNET, None, None) is None


@dataclass
class File:
    """Weights alone in a file: its name, and the shapes of its tensors."""

    path: Path
    weights: dict[str, Any] = field(default_factory=lambda: {"fc.bias": torch.zeros(1000)})


def test_a_file_is_known_by_its_name_and_its_scores() -> None:
    swag = models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    for name, size in (("mine.pth", 224), (swag.url.rpartition("/")[2], 384)):
        found = trained_input(of("vit_b_16"), name, File(Path("weights") / name))  # type: ignore[arg-type]
        assert found is not None and found.size == (size, size)
    other = File(Path("mine.pth"), {"fc.bias": torch.zeros(7)})
    assert trained_input(of("vit_b_16"), "mine.pth", other) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data=folder"], 224),
        (["data=folder", "data.image_size=64"], 64),
        (["data=folder", "data.image_size=null"], None),
        (["data=digits"], "auto"),
    ],
)
def test_the_size_is_theirs_unless_it_is_set_or_cannot_be(words: list[str], expected: object) -> None:
    composed: Composed = sized_as_trained(compose(words), THEIRS)
    tree = composed.resolved()
    assert tree["data"]["image_size"] == expected
    if "folder" in words[0]:
        assert tree["data"]["dataset"]["image_size"] == expected
    assert sized_as_trained(composed, None) is composed


def opened(channels: int, kind: type[Normalize] = Normalize) -> Opened:
    split = Split(torch.zeros(4, channels, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    own = kind([0.5] * channels, [0.25] * channels)
    return Opened(split, None, split, Targets.classes("ab"), own, (channels, 8, 8))


def normalised(data: Opened, *words: str) -> Opened:
    job = prepare(compose(["data=folder", "model=resnet18", *words]))
    settings = replace(job.settings, transfer=replace(job.settings.transfer, weights="theirs.pth"))
    return normalised_as_trained(replace(job, settings=settings, trained_on=THEIRS), data)


def test_the_normalization_is_theirs_and_is_said() -> None:
    found = normalised(opened(3))
    assert found.preprocessing.to_plain() == Normalize(MEAN, STD).to_plain()
    assert found.findings.notes == (
        "images of 8x8, normalized with mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225], as in the training "
        "of theirs; to change this, set data.dataset.mean=, data.dataset.std=, data.image_size=",
    )
    grey = normalised(opened(1)).preprocessing.to_plain()
    assert (grey["mean"], grey["std"]) == ([pytest.approx(0.449)], [pytest.approx(0.226)])
    assert fitted((0.5,), 3) == [0.5] * 3
    assert fitted(MEAN, 4) is None


@pytest.mark.parametrize("word", ["data.dataset.mean=[0.5]", "data.dataset.std=[0.5]"])
def test_one_that_is_set_wins_and_floats_keep_theirs(word: str) -> None:
    data = opened(1)
    assert normalised(data, word) is data
    floats = opened(1, Standardize)
    assert normalised(floats) is floats
