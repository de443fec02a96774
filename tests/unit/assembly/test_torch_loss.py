"""Losses of torch's own: a value a sample, to the value; what they are not for, and what nnrun sets, is an error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnrun.assembly.torch_loss import build_torch_loss, check_loss, unreduced
from nnrun.base.errors import ConfigError
from nnrun.base.targets import Targets
from nnrun.components.losses.ranges import DATA_KINDS

CLASSES, LABELS, VALUES = Targets.classes("abc"), Targets.labels("abc"), Targets.values("abc")
OUTPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
ANSWERS = {
    "classes": torch.tensor([0, 1, 2, 0, 1, 2]),
    "labels": torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]]),
    "values": OUTPUTS.flip(0) + 1,
}


@pytest.mark.parametrize(
    ("name", "targets", "settings"),
    [
        ("CrossEntropyLoss", CLASSES, {"label_smoothing": 0.1}),
        ("CrossEntropyLoss", CLASSES, {"reduction": "none", "ignore_index": 2}),
        ("MultiMarginLoss", CLASSES, {"margin": 0.5}),
        ("BCEWithLogitsLoss", LABELS, {}),
        ("MultiLabelSoftMarginLoss", LABELS, {}),
        ("MSELoss", VALUES, {}),
        ("L1Loss", VALUES, {}),
        ("SmoothL1Loss", VALUES, {"beta": 0.5}),
        ("HuberLoss", VALUES, {"delta": 0.5}),
    ],
)
def test_each_gives_torchs_own_loss_of_every_sample(name, targets, settings):
    section = {"_target_": f"torch.nn.{name}", **settings}
    assert check_loss(section, DATA_KINDS) == []
    loss = build_torch_loss(section, getattr(nn, name), targets, DATA_KINDS)
    answers = ANSWERS[targets.kind]
    losses = loss(OUTPUTS, answers)
    assert losses.shape == (6,)
    own = getattr(nn, name)(**{**settings, "reduction": "sum" if settings.get("ignore_index") else "mean"})
    expected = torch.stack([own(OUTPUTS[i : i + 1], answers[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(losses, expected)


def test_lists_become_tensors_for_each_class_or_label():
    section = {"_target_": "torch.nn.CrossEntropyLoss", "weight": [1, 2, 0.5]}
    losses = build_torch_loss(section, nn.CrossEntropyLoss, CLASSES, DATA_KINDS)(OUTPUTS, ANSWERS["classes"])
    plain = nn.CrossEntropyLoss(reduction="none")(OUTPUTS, ANSWERS["classes"])
    torch.testing.assert_close(losses, plain * torch.tensor([1, 2, 0.5] * 2))
    assert section["weight"] == [1, 2, 0.5], "it is saved as it was written"
    section = {"_target_": "torch.nn.BCEWithLogitsLoss", "pos_weight": [3, 1, 1]}
    loss = build_torch_loss(section, nn.BCEWithLogitsLoss, LABELS, DATA_KINDS)
    expected = nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor([3.0, 1, 1]))
    torch.testing.assert_close(loss(OUTPUTS, ANSWERS["labels"]), expected(OUTPUTS, ANSWERS["labels"]).mean(1))
    assert not list(loss.parameters())
    with pytest.raises(ConfigError, match=r"loss.weight is \[1, 2\]; allowed: a number for each of the 3 classes"):
        build_torch_loss(
            {"_target_": "torch.nn.CrossEntropyLoss", "weight": [1, 2]}, nn.CrossEntropyLoss, CLASSES, DATA_KINDS
        )


class Doubled(nn.CrossEntropyLoss):
    """A loss of the user's own that derives from one of torch's, and takes no reduction."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs, targets, features=None):
        return 2 * super().forward(outputs, targets)


def test_a_loss_that_derives_from_one_of_torchs_gives_a_value_a_sample():
    """Negative control: by itself it gives the mean; one that does not derive from torch's stays as it is."""
    assert Doubled()(OUTPUTS, ANSWERS["classes"]).shape == ()
    losses = unreduced(Doubled(), {"_target_": "mine.Doubled"})(OUTPUTS, ANSWERS["classes"])
    torch.testing.assert_close(losses, 2 * nn.CrossEntropyLoss(reduction="none")(OUTPUTS, ANSWERS["classes"]))
    squared = unreduced(type("Squared", (nn.MSELoss,), {})(), {})(OUTPUTS, ANSWERS["values"])
    torch.testing.assert_close(squared, nn.MSELoss(reduction="none")(OUTPUTS, ANSWERS["values"]).mean(1))
    with pytest.raises(ConfigError, match=r"loss\.reduction is 'mean'; allowed: none: nnrun averages"):
        unreduced(Doubled(), {"_target_": "mine.Doubled", "reduction": "mean"})
    other = nn.Identity()
    assert unreduced(other, {"reduction": "mean"}) is other
    assert not other._forward_hooks


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"_target_": "torch.nn.CrossEntropyLoss", "reduction": "mean"}, "loss.reduction is 'mean'; allowed: none"),
        ({"_target_": "torch.nn.CrossEntropyLoss", "weight": "balanced"}, "loss=cross_entropy, focal or bce"),
        ({"_target_": "torch.nn.MSELoss", "size_average": True}, "loss.size_average is true; allowed: none"),
        ({"_target_": "torch.nn.NLLLoss"}, "it takes log-probabilities; torch.nn.CrossEntropyLoss"),
        ({"_target_": "torch.nn.BCELoss"}, "torch.nn.BCEWithLogitsLoss takes scores"),
        ({"_target_": "torch.nn.GaussianNLLLoss"}, "it takes a variance"),
        ({"_target_": "torch.nn.TripletMarginLoss"}, "it takes other inputs than a network's scores and targets"),
    ],
)
def test_what_cannot_be_is_said_before_data_is_read(section, said):
    (complaint,) = check_loss(section, DATA_KINDS)
    assert said in complaint.text
    with pytest.raises(ConfigError, match="loss"):
        build_torch_loss(section, getattr(nn, section["_target_"].rpartition(".")[2]), CLASSES, DATA_KINDS)


def test_a_loss_for_other_targets_is_an_error_and_others_classes_are_none_of_ours():
    with pytest.raises(ConfigError, match=r"torch\.nn\.MSELoss is for values, but the data has 3 classes"):
        build_torch_loss({"_target_": "torch.nn.MSELoss"}, nn.MSELoss, CLASSES, DATA_KINDS)
    assert check_loss({"_target_": "mine.Loss", "reduction": "mean"}, DATA_KINDS) == []
    assert check_loss({"_target_": "torch.nn.Linear", "reduction": "mean"}, DATA_KINDS) == []
