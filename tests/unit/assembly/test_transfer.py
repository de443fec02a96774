"""Groups of parameters and their learning rates to the value, and weights fitted to another network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nnrun.assembly.training import make_optimizer
from nnrun.assembly.transfer import fit_channels, load_pretrained, open_pretrained, parameter_groups, plan_transfer
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.targets import Targets
from nnrun.components.models.cnn import CNN
from nnrun.components.models.resnet18 import ResNet18
from nnrun.components.schedulers.cosine import WarmupCosine
from nnrun.components.schedulers.onecycle import OneCycle
from nnrun.config.schema import TransferSettings
from nnrun.core.transfer.freezing import Freezing

TRAINS = Freezing()
CLASSES = Targets.classes(("cat", "dog", "fox"))
DEFAULT = TransferSettings(None, None, "none", None, 1.0, 1.0, None, False, "auto")


def settings(**changes) -> TransferSettings:
    return TransferSettings(**(vars(DEFAULT) | changes))


def load(path: object, model: dict, network: nn.Module) -> str:
    plan = plan_transfer(settings(weights=str(path)), network, CLASSES)
    return load_pretrained(plan, open_pretrained(plan.settings, model), model, network, CLASSES)


def network() -> CNN:
    torch.manual_seed(0)
    return CNN((1, 12, 12), 3, [2, 4], 5, batchnorm=True)


def rates(model: nn.Module, optimizer: torch.optim.Optimizer, key: str = "lr") -> dict[str, float]:
    """A setting of each parameter's group, by the parameter's name."""
    by_id = {id(param): group[key] for group in optimizer.param_groups for param in group["params"]}
    return {name: by_id[id(param)] for name, param in model.named_parameters() if id(param) in by_id}


def optimizer_for(model: nn.Module, chosen: TransferSettings, name: str = "AdamW", **options) -> torch.optim.Optimizer:
    target = "nnrun.components.optimizers.muon.MuonWithAdamW" if name == "Muon" else f"torch.optim.{name}"
    section = {"_target_": target, "lr": 0.1, **options}
    return make_optimizer(section, parameter_groups(model, plan_transfer(chosen, model, CLASSES)))


def test_without_settings_there_is_one_group_as_ever() -> None:
    groups = parameter_groups(network(), plan_transfer(DEFAULT, network(), CLASSES))
    assert all(isinstance(item, nn.Parameter) for item in groups)


def test_layer_decay_and_factors_give_each_parameter_its_rate() -> None:
    model = network()
    chosen = settings(layer_decay=0.5, head_lr_factor=3.0, backbone_lr_factor=0.1)
    found = rates(model, optimizer_for(model, chosen))
    expected = {"features.0": 0.1 * 0.1 * 0.125, "features.1": 0.1 * 0.1 * 0.25, "hidden": 0.1 * 0.1 * 0.5, "head": 0.3}
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, rate in found.items():
        assert rate == pytest.approx(next(value for part, value in expected.items() if name.startswith(part)))


def test_norms_and_biases_decay_only_where_that_is_not_switched_off() -> None:
    model = network()
    spared = rates(model, optimizer_for(model, settings(no_decay_norms=True), weight_decay=0.3), "weight_decay")
    decays = {"features.0.conv.weight", "features.1.conv.weight", "hidden.linear.weight", "head.weight"}
    assert spared == {name: 0.3 if name in decays else 0.0 for name, _ in model.named_parameters()}
    plain = rates(model, optimizer_for(model, DEFAULT, weight_decay=0.3), "weight_decay")
    assert set(plain.values()) == {0.3}, "the negative control"


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Muon"])
def test_groups_go_with_every_optimizer_and_what_is_frozen_at_first_joins_late(name: str) -> None:
    model = network()
    chosen = settings(freeze="backbone", unfreeze_epoch=2, layer_decay=0.5)
    transfer = plan_transfer(chosen, model, CLASSES)
    fused = {"fused": None} if name in ("SGD", "Adam", "AdamW", "Adagrad") else {}
    optimizer = make_optimizer(
        {
            "_target_": "nnrun.components.optimizers.muon.MuonWithAdamW" if name == "Muon" else f"torch.optim.{name}",
            "lr": 0.01,
        }
        | fused,
        parameter_groups(model, transfer),
    )
    found = rates(model, optimizer)
    base = {"features.0.norm.weight": 0.001, "hidden.linear.weight": 0.01} if name == "Muon" else {}
    assert found["features.0.norm.weight"] == pytest.approx(base.get("features.0.norm.weight", 0.01) * 0.125)
    assert found["hidden.linear.weight"] == pytest.approx(0.01 * 0.5)
    assert found["head.weight"] == pytest.approx(0.01)
    for epoch, trains in ((0, {"head"}), (1, {"head", "hidden", "features"})):
        transfer.freezing.apply(model, epoch)
        before = {key: param.detach().clone() for key, param in model.named_parameters()}
        model(torch.randn(4, 1, 12, 12)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        changed = {k.partition(".")[0] for k, param in model.named_parameters() if not torch.equal(before[k], param)}
        assert changed == trains


@pytest.mark.parametrize("kind", ["SGD", "Muon"])
def test_schedules_keep_the_factors(kind: str) -> None:
    model = network()
    make = {
        "OneCycle": lambda optimizer: OneCycle(optimizer, max_lr=0.2, total_steps=10),
        "WarmupCosine": lambda optimizer: WarmupCosine(optimizer, 10, 0.2, min_lr=0.0005),
    }
    for scheduler in make.values():
        plain, scaled = (
            optimizer_for(model, chosen, kind)
            for chosen in (DEFAULT, settings(backbone_lr_factor=0.1, layer_decay=0.5))
        )
        schedules = [scheduler(plain), scheduler(scaled)]
        for _ in range(12):
            ours, base = rates(model, scaled), rates(model, plain)
            for name in ("features.0.conv.weight", "hidden.linear.weight", "head.weight", "head.bias"):
                factor = {"features": 0.1 * 0.125, "hidden": 0.05, "head": 1}[name.partition(".")[0]]
                assert ours[name] == pytest.approx(base[name] * factor, rel=1e-6)
            for optimizer, schedule in zip((plain, scaled), schedules, strict=True):
                optimizer.step()
                schedule.step()


def test_frozen_for_good_is_in_no_group() -> None:
    model = network()
    found = rates(model, optimizer_for(model, settings(freeze=["features.*"])))
    assert {name.partition(".")[0] for name in found} == {"hidden", "head"}
    assert Freezing(frozenset({"a"})).ever_trains("a") is False


@pytest.mark.parametrize(("theirs", "ours"), [(3, 1), (1, 3), (3, 4)])
def test_the_first_convolution_answers_a_grey_picture_as_before(theirs: int, ours: int) -> None:
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Conv2d(channels, 5, 3), nn.Linear(2, 2)) for channels in (ours, theirs))
    weights = other.state_dict()
    (note,) = fit_channels(weights, model)
    assert note.startswith(f"0 takes {ours} channel")
    model.load_state_dict(weights)
    grey = torch.randn(1, 1, 4, 4)
    expected = other(grey.expand(1, theirs, 4, 4))
    torch.testing.assert_close(model(grey.expand(1, ours, 4, 4)), expected)


def test_weights_must_fit_but_for_the_head(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(CNN((1, 12, 12), 7, [2, 5], 5).state_dict(), path)
    with pytest.raises(ArtifactError, match=r"does not fit the network .*features\.1\.conv\.weight is"):
        load(path, {}, CNN((1, 12, 12), 3, [2, 4], 5))


def test_weights_for_photographs_name_the_stem_that_they_want(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(ResNet18((3, 80, 80), 3).state_dict(), path)
    with pytest.raises(ArtifactError, match=r"conv1\.weight is .* need model\.stem=imagenet"):
        load(path, {"stem": "auto"}, ResNet18((3, 28, 28), 3))
    assert load(path, {}, ResNet18((3, 28, 28), 3, "imagenet")).endswith(
        "the file names no classes: its scores are read as cat, dog, fox, in this order; loaded all other weights"
    )


def test_auxiliary_scores_of_published_networks_are_left_out(tmp_path: Path) -> None:
    """Negative control: any other name that the network has not is an error."""
    weights = CNN((1, 12, 12), 3, [2, 4], 5).state_dict()
    for name, fits in (("aux1.fc.weight", True), ("AuxLogits.conv.weight", True), ("auxiliary.weight", False)):
        path = tmp_path / f"{name}.pth"
        torch.save(weights | {name: torch.ones(2)}, path)
        model = CNN((1, 12, 12), 3, [2, 4], 5)
        if fits:
            load(path, {}, model)
            assert torch.equal(model.head.weight, weights["head.weight"])
        else:
            with pytest.raises(ArtifactError, match=r"auxiliary\.weight is not in this network"):
                load(path, {}, model)


def test_nobody_publishes_weights_for_the_users_own_network() -> None:
    with pytest.raises(ConfigError, match=r"no weights are published for CNN; use transfer\.weights=PATH for a file"):
        load("default", {"_target_": "nnrun.components.models.cnn.CNN"}, network())
