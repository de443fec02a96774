"""The batched affine against torchvision's, one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from nnrun.components.augment.affine import Affine, inverse_of, warp

# degrees, shift in x and y (fractions of the side), scale, shear in degrees
ROWS = [
    (0, (0, 0), 1, 0),
    (30, (0, 0), 1, 0),
    (-135, (0, 0), 1, 0),
    (0, (0.25, 0), 1, 0),
    (0, (0, -0.3), 1, 0),
    (0, (0, 0), 0.6, 0),
    (0, (0, 0), 1.7, 0),
    (0, (0, 0), 1, 35),
    (20, (0.1, -0.2), 1.2, -15),
    (-75, (-0.4, 0.05), 0.8, 60),
]


def test_every_image_is_as_torchvision_makes_it(make_images):
    images = make_images(len(ROWS), floats=True)
    height, width = images.shape[-2:]
    degrees, shift, scale, shear = (torch.tensor(column, dtype=torch.float32) for column in zip(*ROWS, strict=True))
    ours = warp(images, inverse_of(torch.deg2rad(degrees), scale, torch.deg2rad(shear)), shift)
    for image, (angle, (right, down), factor, slope), result in zip(images, ROWS, ours, strict=True):
        expected = oracle.affine(
            image, angle, [right * width, down * height], factor, [slope, 0.0], InterpolationMode.BILINEAR
        )
        assert torch.allclose(result, expected, atol=1e-4), (angle, right, down, factor, slope)


def test_what_comes_in_from_outside_is_black(make_images):
    images = torch.full((4, 1, 8, 8), 200, dtype=torch.uint8)
    changed = Affine((1, 8, 8), degrees=0, shift=0.4, scale=(1, 1), shear=0)(images, torch.Generator().manual_seed(0))
    assert changed.min() == 0
    assert changed.max() == 200


@pytest.mark.parametrize(
    ("options", "bound"), [({"degrees": 20.0}, 20.0), ({"shear": 30.0}, 30.0), ({"scale": (0.5, 2.0)}, None)]
)
def test_draws_fill_their_bounds(options, bound, monkeypatch):
    seen = {}

    def spy(angle, scale, shear):
        seen.update(degrees=torch.rad2deg(angle), scale=scale, shear=torch.rad2deg(shear))
        return inverse_of(angle, scale, shear)

    monkeypatch.setattr("nnrun.components.augment.affine.inverse_of", spy)
    Affine((1, 4, 4), **options)(torch.zeros(2000, 1, 4, 4), torch.Generator().manual_seed(0))
    (name,) = options
    low, high = (-bound, bound) if bound else options[name]
    assert low <= seen[name].min() < low + (high - low) / 20
    assert high >= seen[name].max() > high - (high - low) / 20
    assert math.isclose(seen[name].mean(), (low + high) / 2, abs_tol=(high - low) / 20)
