"""Erased boxes: their number, area, shape and filling; pixels outside are untouched."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as oracle

from nnrun.components.augment.erasing import Erasing
from nnrun.components.augment.images import boxes

WHITE = torch.full((3000, 1, 20, 30), 255, dtype=torch.uint8)


def erased(options, images=WHITE):
    return Erasing(images.shape[1:], **options)(images, torch.Generator().manual_seed(0))


def test_boxes_are_those_that_torchvision_erases(make_images):
    rows = [(0, 0, 3, 4), (2, 5, 1, 1), (9, 13, 3, 4), (0, 0, 12, 17), (5, 5, 0, 3), (11, 16, 1, 1)]
    images = make_images(len(rows))
    inside = boxes(*(torch.tensor(column) for column in zip(*rows, strict=True)), (12, 17))
    for image, (top, left, height, width), box in zip(images, rows, inside, strict=True):
        expected = oracle.erase(image, top, left, height, width, torch.zeros(1, 1, 1, dtype=torch.uint8))
        assert torch.equal(torch.where(box, 0, image), expected)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_a_share_of_the_images_is_erased(probability):
    share = (erased({"probability": probability, "fill": "black"}) == 0).flatten(1).any(1).double().mean()
    assert abs(share - probability) < 0.03


def test_a_box_is_whole_and_of_the_area_and_the_ratio_asked_for():
    black = erased({"probability": 1.0, "area": (0.1, 0.2), "ratio": (0.5, 2.0), "fill": "black"})[:, 0] == 0
    height, width = black.any(2).sum(1), black.any(1).sum(1)
    assert torch.equal(height * width, black.sum(dim=(1, 2))), "each is one box"
    area = height * width / 600
    assert 0.08 < area.min() < 0.11
    assert 0.19 < area.max() < 0.22
    ratio = height / width
    assert 0.4 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.4
    places = black.double().mean(0)
    assert places.min() > 0.001, "every pixel has its turn"


@pytest.mark.parametrize("floats", [False, True])
def test_noise_is_drawn_pixel_by_pixel(floats):
    images = torch.full((500, 3, 8, 8), 2.0) if floats else torch.full((500, 3, 8, 8), 255, dtype=torch.uint8)
    changed = erased({"probability": 1.0, "area": (1.0, 1.0), "ratio": (1.0, 1.0)}, images)
    values = changed.double() * (255 if floats else 1)
    assert abs(values.mean() - 127.5) < 2
    assert values.min() < 2
    assert values.max() > 253
    assert len(torch.unique(changed[0])) > 60
