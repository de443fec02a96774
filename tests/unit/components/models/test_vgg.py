"""The VGG: its size to the parameter, what it computes, any image size and number of channels, too small an image."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nnrun.base.errors import ConfigError
from nnrun.components.models.vgg import VGG


def stage_parameters(inputs: int, outputs: int, depth: int) -> int:
    return 9 * outputs * (inputs + outputs * (depth - 1)) + 2 * outputs * depth


@pytest.mark.parametrize(
    ("in_shape", "settings", "expected"),
    [
        ((1, 28, 28), {}, 288_170),
        ((1, 64, 64), {}, 288_170),
        ((3, 9, 7), {"channels": [4]}, stage_parameters(3, 4, 2) + 4 * 10 + 10),
        (
            (2, 8, 8),
            {"channels": [4, 6], "depth": 3},
            stage_parameters(2, 4, 3) + stage_parameters(4, 6, 3) + 6 * 10 + 10,
        ),
    ],
)
def test_parameters_are_exactly_those_of_the_formula(in_shape, settings, expected):
    assert sum(param.numel() for param in VGG(in_shape, 10, **settings).parameters()) == expected


def test_state_dict_reads_well():
    names = list(VGG((1, 28, 28), 10, [2, 3], depth=1).state_dict())
    assert [name for name in names if name.startswith("features.1.")] == [
        "features.1.conv.weight",
        "features.1.norm.weight",
        "features.1.norm.bias",
        "features.1.norm.running_mean",
        "features.1.norm.running_var",
        "features.1.norm.num_batches_tracked",
    ]
    assert names[-2:] == ["head.linear.weight", "head.linear.bias"]


def test_computes_stages_of_convolutions_halved_between_them_and_a_mean():
    torch.manual_seed(0)
    model = VGG((2, 11, 8), 5, [3, 4], depth=2, dropout=0.0)
    inputs, weights = torch.randn(6, 2, 11, 8), model.state_dict()
    expected = inputs
    for layer, halves in enumerate([False, True, False, False]):
        expected = functional.conv2d(expected, weights[f"features.{layer}.conv.weight"], padding=1)
        if halves:
            expected = functional.max_pool2d(expected, 2)
        expected = functional.batch_norm(expected, None, None, training=True).relu()
    assert expected.shape == (6, 4, 5, 4)
    expected = functional.linear(expected.mean(dim=(2, 3)), weights["head.linear.weight"], weights["head.linear.bias"])
    torch.testing.assert_close(model(inputs), expected)


def test_dropout_is_in_training_alone():
    torch.manual_seed(0)
    model, inputs = VGG((1, 8, 8), 5, [3, 4], dropout=0.5).eval(), torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(model(inputs), model(inputs))
    for norm in model.train().modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eval()
    assert not torch.allclose(model(inputs), model(inputs))


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 13, 28, 33])
@pytest.mark.parametrize("num_channels", [1, 2, 3, 4])
def test_fits_any_image_and_channels(size, num_channels):
    model = VGG((num_channels, size, size + 3), 7, [3, 4, 5])
    assert model(torch.zeros(2, num_channels, size, size + 3)).shape == (2, 7)


@pytest.mark.parametrize(("width", "channels"), [(0.5, (16, 32, 64)), (1.5, (48, 96, 192)), (1e-3, (1, 1, 1))])
def test_width_is_a_factor_on_channels(width, channels):
    scaled, named = VGG((1, 28, 28), 10, width=width), VGG((1, 28, 28), 10, channels)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (scaled, named)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("num_stages", "least"), [(1, 1), (2, 2), (3, 4), (4, 8)])
def test_smallest_image_works_and_one_pixel_less_does_not(num_stages, least):
    channels = [2] * num_stages
    assert VGG((1, least, least), 3, channels).eval()(torch.zeros(1, 1, least, least)).shape == (1, 3)
    with pytest.raises(ConfigError) as caught:
        VGG((1, least, least - 1), 3, channels)
    message = str(caught.value)
    assert message.startswith(f"images of {least}x{least - 1} are too small: ")
    assert "use a larger data.image_size" in message
    assert "model.channels" in message
    assert f"{least}x{least}" in message


@pytest.mark.parametrize("in_shape", [(784,), (28, 28), (1, 1, 28, 28)])
def test_other_than_images_are_refused(in_shape):
    with pytest.raises(ConfigError, match=r"data\.in_shape is .* channels, height and width"):
        VGG(in_shape, 10)
