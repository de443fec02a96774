"""A network is compared with the weights in a file before it takes memory.

Negative control: those that fit are built, of every class that ships.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from nnrun.assembly import skeleton
from nnrun.assembly.instantiate import build
from nnrun.assembly.skeleton import _Limits, build_network, check_room, check_small
from nnrun.base.errors import ArtifactError, OutOfMemory

PATH = Path("stranger.ckpt")
MLP = {
    "_target_": "nnrun.components.models.mlp.MLP",
    "in_shape": [1, 8, 8],
    "num_classes": 10,
    "hidden": [16],
    "dropout": 0.1,
}
CNN = {
    "_target_": "nnrun.components.models.cnn.CNN",
    "in_shape": [1, 28, 28],
    "num_classes": 10,
    "channels": [8, 16],
    "hidden": 32,
    "dropout": 0.1,
}
FITTING = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet18": {
        "_target_": "nnrun.components.models.resnet18.ResNet18",
        "in_shape": [1, 28, 28],
        "num_classes": 3,
        "stem": "auto",
    },
    "vgg": {"_target_": "nnrun.components.models.vgg.VGG", "in_shape": [3, 32, 32], "num_classes": 10},
    "torchvision, gray": {
        "_target_": "nnrun.components.models.torchvision.Torchvision",
        "name": "mobilenet_v3_small",
        "in_shape": [1, 64, 64],
        "num_classes": 3,
    },
}


@pytest.mark.parametrize("name", FITTING)
def test_a_network_that_fits_is_built_and_draws_as_it_does_alone(name):
    torch.manual_seed(3)
    alone = build(FITTING[name], "model", nn.Module).state_dict()
    torch.manual_seed(3)
    built = build_network(FITTING[name], alone, PATH).state_dict()
    assert built.keys() == alone.keys()
    assert all(torch.equal(built[key], alone[key]) for key in alone)


LARGE = {
    "9 GB": MLP | {"hidden": [30_000, 80_000]},
    "many classes": MLP | {"num_classes": 2**33},
    "many layers": {"_target_": "torch.nn.Transformer", "num_encoder_layers": 10**9},
    "many layers of a loop": {"_target_": "torch.nn.LSTM", "input_size": 1, "hidden_size": 1, "num_layers": 10**9},
    "a library's": FITTING["torchvision, gray"] | {"name": "vit_h_14", "in_shape": [3, 28, 28]},
}


@pytest.mark.parametrize("name", LARGE)
def test_a_network_larger_than_the_weights_is_refused_before_it_takes_memory(name):
    weights = build(MLP, "model", nn.Module).state_dict()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError, match=r"does not fit the network|is larger than the weights in it"):
        build_network(LARGE[name], weights, PATH)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "in kilobytes"


def test_a_network_that_cannot_be_made_without_numbers_is_made_within_limits(monkeypatch):
    """As some of a library's: they read a number while they are made."""
    weights = {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}
    section = {"_target_": f"{__name__}.Reading", "size": 3}
    assert build_network(section, weights, PATH).weight.shape == (3, 3)
    with pytest.raises(ArtifactError, match="is larger than the weights in it"):
        build_network(section | {"size": 50_000}, weights, PATH)


class Reading(nn.Linear):
    """A network that looks at its numbers."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        assert self.weight.detach().std().item() > 0


def test_a_loss_has_no_weights_to_speak_of():
    check_small({"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1}, "loss")
    with pytest.raises(ArtifactError, match="allocates 10,000,100,000 numbers that are not in the file"):
        check_small({"_target_": "torch.nn.Linear", "in_features": 10**5, "out_features": 10**5}, "loss")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_no_weights(dtype):
    weights = build(MLP, "model", nn.Module).state_dict()
    build_network(MLP, {name: tensor.half() for name, tensor in weights.items()}, PATH)
    with pytest.raises(ArtifactError, match=f"head.bias is {str(dtype)[6:]}, but the network needs float32"):
        build_network(MLP, weights | {"head.bias": weights["head.bias"].to(dtype)}, PATH)


def test_looking_before_building_imports_nothing_that_building_does_not():
    """torch's compiler takes as long to import as torch itself."""
    assert _Limits._should_skip_dynamo() is False
    program = (
        "import sys; from pathlib import Path; from torch import nn; from nnrun.assembly.instantiate import build\n"
        "from nnrun.assembly.skeleton import build_network\n"
        f"section = {CNN!r}\n"
        "build_network(section, build(section, 'model', nn.Module).state_dict(), Path('x'))\n"
        "assert 'torch._dynamo' not in sys.modules and 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_network_that_this_machine_cannot_train_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights and their gradients alone are more than there is. Negative control: with the room for them it is."""
    section = {
        "_target_": "nnrun.components.models.mlp.MLP",
        "in_shape": [3, 4000, 3000],
        "num_classes": 2,
        "hidden": [10_000],
    }
    with pytest.raises(OutOfMemory, match="MLP would have 360,000,030,002 parameters; training them takes more than "):
        check_room(section)
    monkeypatch.setattr(skeleton, "usable_bytes", lambda: 8 * 4 * (48 * 5 + 5 + 12))
    check_room({**section, "in_shape": [3, 4, 4], "hidden": [5]})
    check_room({**section, "_target_": "torchvision.models.resnet18"})
