"""What holds of every augmentation of images: form, range, a draw a sample, repeatable bits, nothing at no strength."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.errors import ConfigError
from nnrun.components.augment.affine import Affine
from nnrun.components.augment.color import Color
from nnrun.components.augment.crop_flip import CropFlip
from nnrun.components.augment.erasing import Erasing
from nnrun.components.augment.trivialaugment import TrivialAugment
from support.options import option_sections, target_and_parameters

SHAPE = (3, 12, 17)
IDLE = {
    Affine: {"degrees": 0.0, "shift": 0.0, "scale": [1.0, 1.0], "shear": 0.0},
    Color: {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    CropFlip: {"padding": 0, "flip": 0.0},
    Erasing: {"probability": 0.0},
    TrivialAugment: {"probability": 0.0},
}
EACH = pytest.mark.parametrize("kind", list(IDLE), ids=lambda kind: kind.__name__)
FLOATS = pytest.mark.parametrize("floats", [False, True], ids=["uint8", "float"])


def applied(augmentation, images, seed=0):
    return augmentation(images, torch.Generator().manual_seed(seed))


@EACH
@FLOATS
def test_form_and_range_stay_and_the_samples_given_are_left_alone(kind, floats, make_images):
    images = make_images(16, floats=floats)
    before = images.clone()
    changed = applied(kind(SHAPE), images)
    assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= (1 if floats else 255)


@EACH
@FLOATS
def test_no_strength_changes_nothing(kind, floats, make_images):
    images = make_images(floats=floats)
    assert torch.allclose(applied(kind(SHAPE, **IDLE[kind]), images), images, atol=1e-5 if floats else 0, rtol=0)


@EACH
def test_each_sample_has_a_draw_of_its_own(kind, make_images):
    images = make_images(1).expand(32, -1, -1, -1).contiguous()
    changed = applied(kind(SHAPE), images)
    assert len({image.numpy().tobytes() for image in changed}) > 8


@EACH
def test_bits_are_a_function_of_the_generator_alone(kind, make_images):
    images, augmentation = make_images(16), kind(SHAPE)
    first = applied(augmentation, images)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(applied(kind(SHAPE), images), first)
    assert torch.equal(applied(augmentation, images), first)
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn elsewhere"
    assert not torch.equal(applied(augmentation, images, seed=1), first), "the negative control"


@EACH
def test_grey_images_are_taken_unless_only_colour_would_change(kind, make_images):
    options = {"saturation": 0.0, "hue": 0.0} if kind is Color else {}
    images = make_images(16, channels=1)
    assert not torch.equal(applied(kind((1, 12, 17), **options), images), images)


@pytest.mark.parametrize("name", [name for name in option_sections("augment") if name != "mixup"])
def test_what_is_no_image_is_refused_by_name(name):
    kind, parameters = target_and_parameters(option_sections("augment")[name])
    with pytest.raises(ConfigError, match=rf"^data.in_shape is \[4\]; allowed: images, for augment.{name}; remove it"):
        kind(**parameters | {"in_shape": [4]})


@pytest.mark.parametrize("name", ["color", "trivialaugment"])
def test_images_of_two_channels_have_no_colours(name):
    kind, parameters = target_and_parameters(option_sections("augment")[name])
    with pytest.raises(ConfigError, match=f"images of 1 or 3 channels, for augment.{name}"):
        kind(**parameters | {"in_shape": [2, 8, 8]})


@pytest.mark.parametrize("strength", [{"saturation": 0.1, "hue": 0.0}, {"saturation": 0.0, "hue": 0.1}])
def test_the_colour_of_grey_images_is_refused(strength):
    with pytest.raises(ConfigError, match=r"gray; add augment.color.saturation=0 augment.color.hue=0"):
        Color((1, 8, 8), **strength)
