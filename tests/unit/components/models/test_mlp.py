"""The MLP: its size to the parameter, its shapes, what it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnrun.base.errors import ConfigError
from nnrun.components.models.cnn import CNN
from nnrun.components.models.mlp import MLP


def num_parameters(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())


@pytest.mark.parametrize(
    ("in_shape", "num_classes", "hidden", "expected"),
    [
        ((1, 28, 28), 10, [128], 101_770),
        ((1, 28, 28), 10, 128, 101_770),
        ((3, 4), 2, [5, 6], 12 * 5 + 5 + 5 * 6 + 6 + 6 * 2 + 2),
        ((7,), 3, [], 7 * 3 + 3),
    ],
)
def test_parameters_are_exactly_those_of_the_formula(in_shape, num_classes, hidden, expected):
    model = MLP(in_shape, num_classes, hidden, dropout=0.2)
    assert num_parameters(model) == expected
    assert model(torch.zeros(2, *in_shape)).shape == (2, num_classes)


def test_state_dict_reads_well():
    assert list(MLP((4,), 3, [8, 8], dropout=0.5).state_dict()) == [
        "hidden.0.linear.weight",
        "hidden.0.linear.bias",
        "hidden.1.linear.weight",
        "hidden.1.linear.bias",
        "head.weight",
        "head.bias",
    ]


def test_computes_linear_relu_linear():
    torch.manual_seed(0)
    model = MLP((2, 3), 4, [5], dropout=0.2).eval()
    inputs, weights = torch.randn(7, 2, 3), model.state_dict()
    hidden = (inputs.reshape(7, 6) @ weights["hidden.0.linear.weight"].T + weights["hidden.0.linear.bias"]).clamp(min=0)
    torch.testing.assert_close(model(inputs), hidden @ weights["head.weight"].T + weights["head.bias"])


def test_dropout_drops_while_training_only():
    """Negative control: with dropout 0 two passes are the same while training too."""
    torch.manual_seed(0)
    inputs = torch.randn(8, 6)
    model, control = MLP((6,), 4, [32], dropout=0.5), MLP((6,), 4, [32], dropout=0.0)
    assert not torch.equal(model(inputs), model(inputs))
    assert torch.equal(control(inputs), control(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


@pytest.mark.parametrize("in_shape", [{"image": [1, 2, 2], "age": [1], "city": []}, [[1, 2, 2], [1]]])
def test_samples_of_several_tensors_are_refused_in_words(in_shape):
    with pytest.raises(ConfigError, match=r"allowed: a single shape \(mlp takes one tensor per sample\); for a table"):
        MLP(in_shape, 2)
    with pytest.raises(ConfigError, match=r"allowed: a single shape \(cnn takes"):
        CNN(in_shape, 2, [3], 4, 0.5, batchnorm=False)


def test_very_many_weights_for_large_images_are_said():
    notes = MLP.notes({"in_shape": [3, 224, 224], "hidden": [128]})
    assert notes == [
        "mlp has 19,267,584 weights in its first layer for images of 224x224; model=cnn or resnet18 has far fewer"
    ]
    for in_shape, hidden in (([3, 160, 160], 128), ([10_000_000], [128]), ([3, 224, 224], [])):
        assert MLP.notes({"in_shape": in_shape, "hidden": hidden}) == []
