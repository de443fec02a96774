"""Colors against torchvision's functions, one image at a time."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as oracle

from nnrun.components.augment.color import Color, brighten, change_contrast, saturate, turn_hue
from nnrun.components.augment.images import per_image

FACTORS = (0.0, 0.3, 0.9, 1.0, 1.4, 2.0)
TURNS = (-0.5, -0.2, 0.0, 0.03, 0.25, 0.5)
ROWS = [
    (brighten, oracle.adjust_brightness, FACTORS),
    (change_contrast, oracle.adjust_contrast, FACTORS),
    (saturate, oracle.adjust_saturation, FACTORS),
    (turn_hue, oracle.adjust_hue, TURNS),
]


@pytest.mark.parametrize(("ours", "theirs", "values"), ROWS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_image_is_as_torchvision_makes_it(ours, theirs, values, make_images):
    images = make_images(len(values), floats=True)
    images[:, :, 0] = 0.5  # without a hue
    images[:, 1, 1] = images[:, 0, 1]
    results = ours(images, per_image(torch.tensor(values))).clamp(0, 1)
    for image, value, result in zip(images, values, results, strict=True):
        assert torch.allclose(result, theirs(image, value), atol=2e-6)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_strength_is_its_own(name, make_images, generator):
    strengths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {name: 0.4}
    images = make_images(64, height=4, width=4)
    changed = Color((3, 4, 4), **strengths)(images, generator).float()
    assert not torch.equal(changed, images.float())
    peak = changed.amax(1) - images.float().amax(1)
    assert (peak.abs().max() <= 1) == (name == "hue"), "the hue leaves the largest of the three as large as it was"


def test_uint8_is_rounded_once_at_the_end(make_images, generator):
    """Negative control of the type: the same draws on floats differ by at most the rounding."""
    images = make_images(32)
    whole = Color((3, 12, 17))(images, torch.Generator().manual_seed(1))
    exact = Color((3, 12, 17))(images.float() / 255, torch.Generator().manual_seed(1)) * 255
    assert (whole.float() - exact).abs().max() < 0.51
