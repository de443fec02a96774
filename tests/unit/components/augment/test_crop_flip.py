"""Cropping and mirroring against slices, one image at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from nnrun.components.augment.crop_flip import CropFlip, crop


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_place_and_side_is_a_slice(make_images, channels_last):
    padding = 2
    rows = list(itertools.product(range(5), range(5), (False, True)))
    images = make_images(len(rows), channels=2)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    height, width = images.shape[-2:]
    padded = functional.pad(images, [padding] * 4)
    top, left, flipped = (torch.tensor(column) for column in zip(*rows, strict=True))
    ours = crop(padded, (height, width), top, left, flipped)
    for image, (row, column, mirrored), result in zip(padded, rows, ours, strict=True):
        part = image[:, row : row + height, column : column + width]
        assert torch.equal(result, part.flip(-1) if mirrored else part)


def test_all_places_are_drawn_and_half_of_the_images_mirrored():
    images = torch.zeros(4000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2], images[:, :, 2, 3] = 255, 100
    changed = CropFlip((1, 5, 5), padding=1)(images, torch.Generator().manual_seed(0))
    assert len(torch.unique(changed.flatten(1), dim=0)) == 9 * 2
    place = (changed == 255).flatten(1).int().argmax(1)
    mirrored = (changed == 100).flatten(1).int().argmax(1) < place
    assert 0.46 < mirrored.double().mean() < 0.54


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_flip_is_a_probability(flip, share, make_images):
    images = make_images()
    changed = CropFlip((3, 12, 17), padding=0, flip=flip)(images, torch.Generator())
    assert torch.equal(changed, images.flip(-1) if share else images)
