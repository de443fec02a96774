"""What is frozen does not change in any way, to the bit; and a pattern that means nothing is an error."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnrun.base.errors import ConfigError
from nnrun.components.models.cnn import CNN
from nnrun.core.transfer.freezing import Freezing, describe_training, frozen_names


def make() -> CNN:
    torch.manual_seed(0)
    return CNN((1, 12, 12), 3, [2, 3], 5, 0.5, batchnorm=True)


def train_a_little(network: nn.Module, prepare) -> dict[str, torch.Tensor]:
    """Three steps with weight decay and momentum, so that whatever can change does."""
    prepare(network)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        torch.manual_seed(step)
        nn.functional.cross_entropy(network(torch.randn(4, 1, 12, 12)), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.state_dict()


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_a_frozen_backbone_keeps_weights_and_statistics_to_the_bit_and_drops_nothing() -> None:
    network = make()
    before = copy.deepcopy(network.state_dict())
    freezing = Freezing(frozen_names(network, "backbone", "head"))
    after = train_a_little(network, lambda n: freezing.apply(n, 0))
    assert changed(before, after) == {"head"}
    assert network.training and network.head.training and not network.hidden.dropout.training
    assert describe_training(network) == f"18 trainable parameters of {sum(p.numel() for p in network.parameters())}"


@pytest.mark.parametrize("part", ["features", "hidden"])
def test_setting_requires_grad_on_a_module_freezes_nothing(part: str) -> None:
    """Negative control of the test above: tutorials set it on a module, which has no such attribute."""
    network = make()
    before = copy.deepcopy(network.state_dict())

    def as_tutorials_do(network: nn.Module) -> None:
        setattr(network.get_submodule(part), "requires_grad", False)  # noqa: B010

    assert part in changed(before, train_a_little(network, as_tutorials_do))
    assert describe_training(network).endswith(" trainable parameters (all)")


def test_norms_with_frozen_parameters_alone_change_their_statistics_in_training_mode() -> None:
    """Negative control for eval mode: without it, statistics change though no parameter does."""
    network = make()
    before = copy.deepcopy(network.state_dict())
    names = frozen_names(network, "backbone", "head")

    def parameters_alone(network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in names)

    after = train_a_little(network, parameters_alone)
    assert not torch.equal(before["features.0.norm.running_mean"], after["features.0.norm.running_mean"])


def test_a_pattern_freezes_what_it_names_and_the_rest_trains() -> None:
    network = make()
    before = copy.deepcopy(network.state_dict())
    freezing = Freezing(frozen_names(network, ["features.0.*", "head.bias"], None))
    after = train_a_little(network, lambda n: freezing.apply(n, 0))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("features.0."))
    assert torch.equal(before["head.bias"], after["head.bias"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert not torch.equal(before["features.1.norm.running_mean"], after["features.1.norm.running_mean"])


def test_until_an_epoch_and_from_it_on_all_trains_as_before() -> None:
    network = make()
    network.hidden.linear.weight.requires_grad_(False)  # by its own constructor, say
    freezing = Freezing(frozen_names(network, "backbone", "head"), until_epoch=2)
    for epoch in (0, 1, 2, 3):
        freezing.apply(network, epoch)
        assert network.features[0].conv.weight.requires_grad is (epoch >= 2)
        assert network.features[0].norm.training is (epoch >= 2)
        assert not network.hidden.linear.weight.requires_grad, "it is not ours to unfreeze"
    freezing.apply(network, 1)
    assert not network.features[0].conv.weight.requires_grad


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("features", r"no parameter matches features; did you mean 'features\.\*'\?"),
        ("feature.0.*", r"no parameter matches feature\.0\.\*; did you mean 'features\.0\.\*'"),
        (["features.*", "heat.*"], r"no parameter matches heat\.\*; did you mean 'head\.\*'\?"),
        ("encoder.*", r"no parameter matches encoder\.\*; available: features\.0\.conv\.weight, .* and [0-9]+ more"),
        ("*", r"transfer\.freeze=\* freezes every parameter of the network"),
    ],
)
def test_a_pattern_that_means_nothing_is_an_error_with_names_near_it(freeze, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        frozen_names(make(), freeze, None)
