"""The CNN: its size to the parameter, any image size and number of channels, the error for too small an image."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nnrun.base.errors import ConfigError
from nnrun.components.models.cnn import CNN, averaging, smallest_size


@pytest.mark.parametrize(
    ("in_shape", "channels", "hidden", "expected"),
    [
        ((1, 28, 28), [32, 64], 128, 225_034),
        (
            (3, 32, 32),
            [32, 64],
            128,
            (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 6 * 6 * 128 + 128) + (128 * 10 + 10),
        ),
        ((2, 13, 40), [4], 5, (2 * 9 * 4 + 4) + (4 * 5 * 19 * 5 + 5) + (5 * 10 + 10)),
    ],
)
def test_parameters_are_exactly_those_of_the_formula(in_shape, channels, hidden, expected):
    model = CNN(in_shape, 10, channels, hidden, dropout=0.0)
    assert sum(param.numel() for param in model.parameters()) == expected


def test_state_dict_reads_well():
    assert list(CNN((1, 28, 28), 10, [32, 64], 128).state_dict()) == [
        "features.0.conv.weight",
        "features.0.conv.bias",
        "features.1.conv.weight",
        "features.1.conv.bias",
        "hidden.linear.weight",
        "hidden.linear.bias",
        "head.weight",
        "head.bias",
    ]


@pytest.mark.parametrize("size", [10, 11, 12, 13, 17, 22, 23, 28, 33])
@pytest.mark.parametrize("num_channels", [1, 2, 3, 4])
def test_fits_any_image_and_channels(size, num_channels):
    model = CNN((num_channels, size, size + 3), 7, [3, 4], 6)
    assert model(torch.zeros(2, num_channels, size, size + 3)).shape == (2, 7)


def test_computes_conv_pool_relu_linear_relu_linear():
    torch.manual_seed(0)
    model = CNN((2, 12, 11), 5, [3, 4], 6, dropout=0.5).eval()
    inputs, weights = torch.randn(3, 2, 12, 11), model.state_dict()
    expected = inputs
    for index in range(2):
        kernel, bias = weights[f"features.{index}.conv.weight"], weights[f"features.{index}.conv.bias"]
        expected = functional.max_pool2d(functional.conv2d(expected, kernel, bias).relu(), 2)
    expected = functional.linear(expected.flatten(1), weights["hidden.linear.weight"], weights["hidden.linear.bias"])
    expected = functional.linear(expected.relu(), weights["head.weight"], weights["head.bias"])
    torch.testing.assert_close(model(inputs), expected)


def test_channels_last_gives_the_same_scores():
    torch.manual_seed(0)
    model, inputs = CNN((3, 14, 14), 4, [8, 8], 16), torch.randn(2, 3, 14, 14)
    expected = model(inputs)
    model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(inputs.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize(("num_convolutions", "expected"), [(0, 1), (1, 4), (2, 10), (3, 22), (4, 46)])
def test_smallest_size_works_and_one_pixel_less_does_not(num_convolutions, expected):
    assert smallest_size(num_convolutions) == expected
    channels = [2] * num_convolutions
    model = CNN((1, expected, expected), 3, channels, 4)
    assert model(torch.zeros(1, 1, expected, expected)).shape == (1, 3)
    with pytest.raises(ConfigError) as caught:
        CNN((1, expected, expected - 1), 3, channels, 4)
    message = str(caught.value)
    assert message.startswith(f"images of {expected}x{expected - 1} are too small: ")
    assert "use a larger data.image_size" in message
    assert "model.channels" in message
    assert f"{expected}x{expected}" in message


@pytest.mark.parametrize("in_shape", [(784,), (28, 28), (1, 1, 28, 28)])
def test_other_than_images_are_refused(in_shape):
    with pytest.raises(ConfigError, match=r"data\.in_shape is .* channels, height and width"):
        CNN(in_shape, 10)


def test_batchnorm_normalises_before_each_relu_and_takes_the_biases():
    torch.manual_seed(0)
    model = CNN((2, 12, 11), 5, [3, 4], 6, batchnorm=True)
    assert [name for name in model.state_dict() if name.endswith("bias")] == [
        *("features.0.norm.bias", "features.1.norm.bias", "hidden.norm.bias", "head.bias")
    ]
    inputs, weights = torch.randn(8, 2, 12, 11), dict(model.named_parameters())
    expected = inputs
    for index in range(2):
        expected = functional.max_pool2d(functional.conv2d(expected, weights[f"features.{index}.conv.weight"]), 2)
        expected = functional.batch_norm(expected, None, None, training=True).relu()
    expected = functional.linear(expected.flatten(1), weights["hidden.linear.weight"])
    expected = functional.batch_norm(expected, None, None, training=True).relu()
    expected = functional.linear(expected, weights["head.weight"], weights["head.bias"])
    torch.testing.assert_close(model(inputs), expected)
    plain = CNN((2, 12, 11), 5, [3, 4], 6)
    plain.load_state_dict(weights, strict=False)
    assert not torch.allclose(plain(inputs), expected), "the negative control: the norms do something"


@pytest.mark.parametrize(
    ("width", "channels", "hidden"), [(0.5, (16, 32), 64), (1.5, (48, 96), 192), (1e-3, (1, 1), 1)]
)
def test_width_is_a_factor_on_channels_and_hidden_units(width, channels, hidden):
    scaled, named = CNN((1, 28, 28), 10, width=width), CNN((1, 28, 28), 10, channels, hidden)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (scaled, named)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("in_shape", [(3, 224, 224), (1, 33, 47), (3, 3000, 4000)])
def test_parameters_do_not_grow_with_images_above_the_grid(in_shape):
    """On the device meta nothing takes memory. Negative control: without a grid they grow."""
    with torch.device("meta"):
        counts = [
            sum(parameter.numel() for parameter in CNN(shape, 10, grid=grid).parameters())
            for shape, grid in ((in_shape, 32), ((in_shape[0], 32, 32), 16384), ((in_shape[0], 64, 64), 16384))
        ]
    assert counts[0] == counts[1] < counts[2]


@pytest.mark.parametrize("in_shape", [(1, 28, 28), (3, 32, 32), (1, 32, 12)])
@pytest.mark.parametrize("channels", [[4], [4, 8]])
def test_images_up_to_the_grid_have_the_network_that_they_had(in_shape, channels):
    """The same layers and the same draws."""
    networks = []
    for grid in (16384, 32):
        torch.manual_seed(0)
        networks.append(CNN(in_shape, 10, channels, 6, grid=grid))
    assert str(networks[0]) == str(networks[1])
    for ours, theirs in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_grid_is_what_the_convolutions_see():
    """A picture of blocks of one color is seen as the picture of a pixel for each block."""
    torch.manual_seed(0)
    small, large = CNN((3, 12, 12), 3, [2, 3], 4), CNN((3, 24, 24), 3, [2, 3], 4, grid=12)
    large.load_state_dict(small.state_dict())
    picture = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(large(picture.repeat_interleave(2, 2).repeat_interleave(2, 3)), small(picture))


@pytest.mark.parametrize("size", range(13, 60))
def test_windows_cover_every_pixel(size):
    pixels = torch.ones(1, 3, size, 40, requires_grad=True)
    pooled = averaging((size, 40), (13, 13))(pixels)
    assert pooled.shape == (1, 3, 13, 13)
    assert torch.equal(pooled, torch.ones_like(pooled))
    pooled.sum().backward()
    assert bool((pixels.grad > 0).all())


def test_a_grid_is_never_smaller_than_the_convolutions_need():
    model = CNN((1, 64, 64), 3, [2] * 4, 4, grid=8)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 3)


def test_what_is_averaged_is_said():
    parameters = {"in_shape": [3, 224, 40], "channels": [32, 64], "grid": 32}
    (note,) = CNN.notes(parameters)
    assert note.startswith("cnn averages images of 224x40 to 32x32 first (model.grid=32); ")
    assert CNN.notes({**parameters, "in_shape": [1, 28, 32]}) == CNN.notes({**parameters, "grid": 224}) == []
