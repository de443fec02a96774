"""Each operation against torchvision's, one image at a time, at a table of strengths."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from nnrun.components.augment.trivialaugment import OPERATIONS, TrivialAugment

STRENGTHS = [(0.0, 1), (0.0, -1), (1 / 30, -1), (0.2, 1), (0.5, -1), (0.7, 1), (1.0, 1), (1.0, -1)]
SIZE = (12, 17)


def moved(image, degrees=0.0, shift=(0.0, 0.0), shear=(0.0, 0.0)):
    return oracle.affine(image, degrees, list(shift), 1.0, list(shear), InterpolationMode.BILINEAR)


def sheared(image, x=0.0, y=0.0):
    """torchvision's shear in y changes other things too: that in x of the image lying on its side does not."""
    if y:
        return sheared(image.transpose(1, 2), x=y).transpose(1, 2)
    return moved(image, shear=(math.degrees(math.atan(x)), 0.0))


ORACLES = {
    "identity": lambda image, s: image,
    "shear_x": lambda image, s: sheared(image, x=0.99 * s),
    "shear_y": lambda image, s: sheared(image, y=0.99 * s),
    "shift_x": lambda image, s: moved(image, shift=(0.45 * s * SIZE[1], 0.0)),
    "shift_y": lambda image, s: moved(image, shift=(0.0, 0.45 * s * SIZE[0])),
    "rotate": lambda image, s: moved(image, degrees=135.0 * s),
    "brightness": lambda image, s: oracle.adjust_brightness(image, 1 + 0.99 * s),
    "color": lambda image, s: oracle.adjust_saturation(image, 1 + 0.99 * s),
    "contrast": lambda image, s: oracle.adjust_contrast(image, 1 + 0.99 * s),
    "sharpness": lambda image, s: oracle.adjust_sharpness(image, 1 + 0.99 * s),
    "posterize": lambda image, s: oracle.posterize(image, 8 - round(6 * abs(s))),
    "solarize": lambda image, s: oracle.solarize(image, 255 * (1 - abs(s))),
    "autocontrast": lambda image, s: oracle.autocontrast(image),
    "equalize": lambda image, s: oracle.equalize(image),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_as_torchvision_makes_it(name, channels, make_images):
    images = make_images(len(STRENGTHS), channels)
    images[:, :, :, :8] //= 3
    strength, sign = (torch.tensor(column, dtype=torch.float32) for column in zip(*STRENGTHS, strict=True))
    operation = torch.full_like(sign, OPERATIONS.index(name), dtype=torch.int64)
    ours = TrivialAugment((channels, *SIZE)).apply(images, operation, strength, sign)
    for image, (amount, direction), result in zip(images, STRENGTHS, ours, strict=True):
        expected = ORACLES[name](image, amount * direction)
        # torchvision cuts fractions off where ours are rounded; of the gray that colors are blended with, too.
        bound = 2 if name == "color" else 1
        assert (result.int() - expected.int()).abs().max() <= bound, (amount, direction)


def test_all_operations_and_strengths_are_drawn_alike(monkeypatch, make_images):
    seen = {}
    monkeypatch.setattr(TrivialAugment, "apply", lambda self, raw, *draws: seen.update(draws=draws) or raw)
    images = make_images(1, height=2, width=2).expand(14_000, -1, -1, -1)
    TrivialAugment((3, 2, 2))(images, torch.Generator().manual_seed(0))
    operation, strength, sign = seen["draws"]
    counts = operation.bincount(minlength=len(OPERATIONS))
    assert counts.min() > 850
    assert counts.max() < 1150
    assert len(torch.unique(strength)) == 31
    assert abs(sign.mean()) < 0.03
    TrivialAugment((3, 2, 2), probability=0.25)(images, torch.Generator().manual_seed(0))
    assert 0.72 < (seen["draws"][0] == 0).double().mean() < 0.80
