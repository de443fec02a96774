"""Weights of other trainers: wrapped, averaged, with more or less than a network has; what is done to them is said."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from nnrun.base.errors import ArtifactError
from nnrun.checkpoints.folder import load_weights
from nnrun.checkpoints.foreign_weights import match
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.read import read_saved


class Net(nn.Module):
    def __init__(self, seed=0, momentum=0.1):
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=momentum))
        self.fc = nn.Linear(3, 2)
        self.features[1].running_mean.normal_()


class Indexed(nn.Module):
    """A network with buffers that it computes from its sizes, as transformers have them."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("relative_position_index", torch.arange(4))
        self.register_buffer("attn_mask", torch.ones(4))


THEIRS = Net(1).state_dict()
OTHERS = Net(2).state_dict()


def under(prefix, weights=THEIRS):
    return {prefix + name: tensor for name, tensor in weights.items()}


def without(*words, weights=THEIRS):
    return {name: tensor for name, tensor in weights.items() if not any(word in name for word in words)}


def loaded(path, value, network):
    """Return the notes; the network has the file's weights."""
    torch.save(value, path)
    weights, notes = match(read_saved(locate(path, "best")), network)
    load_weights(network, weights, path)
    return "; ".join(notes)


def is_same(network, weights=THEIRS):
    state = network.state_dict()
    return all(torch.equal(state[name], weights[name]) for name in without("num_batches", weights=weights))


PARTED = {name.replace("features.", "features.module."): tensor for name, tensor in THEIRS.items()}
COMPILED = {name.replace("fc.", "fc._orig_mod."): tensor for name, tensor in THEIRS.items()}
PREFIXES = {
    "none": (THEIRS, ""),
    "net": (under("net."), "has 'net.' before every name"),
    "of two wrappers": (under("_orig_mod.module."), "has '_orig_mod.module.' before every name"),
    "of another order": (under("module._orig_mod."), "has 'module._orig_mod.' before every name"),
    "of a trainer": (under("model._orig_mod."), "has 'model._orig_mod.' before every name"),
    "deep, of no known word": (under("a.b.student.a."), "has 'a.b.student.a.' before every name"),
    "of a part alone": (PARTED, "has words of wrappers inside of names"),
    "of a part, and of the whole": (under("module.", PARTED), "has 'module.' before every name"),
    "of a compiled part": (under("model.", COMPILED), "has 'model.' before every name"),
}


@pytest.mark.parametrize("name", PREFIXES)
def test_what_wrappers_put_before_the_names_is_taken_off_and_said(tmp_path, name):
    weights, note = PREFIXES[name]
    for value in (weights, {"state_dict": weights, "epoch": 3}):
        network = Net()
        said = loaded(tmp_path / "w.pth", value, network)
        assert is_same(network) and (note in said if note else said == "")


def test_names_that_lack_the_networks_own_beginning_get_it(tmp_path):
    network = nn.ModuleDict({"net": Net()})
    assert "names without the network's prefix 'net.'" in loaded(tmp_path / "w.pth", THEIRS, network)
    assert is_same(network["net"])


def test_another_network_is_refused_with_its_names_as_they_are(tmp_path):
    """The negative control: no prefix is taken off where that makes nothing fit."""
    with pytest.raises(ArtifactError, match=r"it has encoder\.deep\.weight"):
        loaded(tmp_path / "w.pth", {"encoder.deep.weight": torch.ones(7, 7)}, Net())


def test_counters_that_a_file_does_not_have_begin_at_0_and_that_is_said(tmp_path):
    network = Net()
    said = loaded(tmp_path / "w.pth", without("num_batches_tracked"), network)
    assert is_same(network) and network.features[1].num_batches_tracked == 0
    assert "lacks features.1.num_batches_tracked, which hold no weights" in said
    for word in ("running_var", "features.1.bias"):
        with pytest.raises(ArtifactError, match="is missing"):
            loaded(tmp_path / "w.pth", without(word), Net())


def test_indices_and_masks_are_the_networks_own_and_what_a_profiler_left_is_left_out(tmp_path):
    network = Indexed()
    kept = {"layer.weight": torch.ones(2, 4), "layer.bias": torch.ones(2)}
    said = loaded(
        tmp_path / "w.pth", kept | {"layer.total_ops": torch.zeros(1), "position_ids": torch.arange(4)}, network
    )
    assert torch.equal(network.relative_position_index, torch.arange(4)) and torch.equal(
        network.attn_mask, torch.ones(4)
    )
    assert "has layer.total_ops, position_ids, which hold no weights and are skipped" in said
    with pytest.raises(ArtifactError, match=r"layer\.more is not in this network"):
        loaded(tmp_path / "w.pth", kept | {"layer.more": torch.ones(2)}, Indexed())


def test_whole_numbers_are_no_weights(tmp_path):
    quantized = THEIRS | {"fc.weight": THEIRS["fc.weight"].to(torch.int8)}
    with pytest.raises(ArtifactError, match=r"fc\.weight is int8"):
        loaded(tmp_path / "w.pth", quantized, Net())


def averaged():
    """A file's averaged weights, as torch's AveragedModel saves them."""
    model = AveragedModel(Net())
    model.module.load_state_dict(THEIRS)
    model.n_averaged.fill_(5)
    return model.state_dict()


RAW_AND_AVERAGED = {
    "timm": {"state_dict": OTHERS, "state_dict_ema": THEIRS, "epoch": 3},
    "timm's older": {"model": OTHERS, "model_ema": under("module."), "epoch": 3},
    "ultralytics": {"model": OTHERS, "ema": THEIRS, "best_fitness": 0.5, "updates": 100},
    "torch": {"model": OTHERS, "averaged": averaged()},
    "lightning": {"state_dict": under("net.", OTHERS) | under("net_ema.") | {"criterion.weight": torch.ones(3)}},
    "lightning's, of torch": {"state_dict": under("net.", OTHERS) | under("avg_model.", averaged())},
    "in one": OTHERS | under("ema."),
    "deep": {"checkpoint": {"weights": {"raw": OTHERS, "emaModel": THEIRS}}},
}


@pytest.mark.parametrize("name", RAW_AND_AVERAGED)
def test_of_raw_and_averaged_weights_the_averaged_are_loaded_and_it_is_said(tmp_path, name):
    network = Net()
    said = loaded(tmp_path / "w.pth", RAW_AND_AVERAGED[name], network)
    assert is_same(network), "the averaged ones, whatever their place"
    assert "averaged weights are taken before raw ones" in said


def test_averaged_weights_alone_need_no_choice_and_those_that_lack_statistics_are_not_taken(tmp_path):
    network = Net()
    said = loaded(tmp_path / "w.pth", averaged(), network)
    assert is_same(network) and "has n_averaged, which hold no weights" in said and "before raw" not in said
    network = Net()
    half = {"model": THEIRS, "ema": without("running_", "num_batches", weights=OTHERS)}
    assert "also has averaged weights in ema, which lack some" in loaded(tmp_path / "w.pth", half, network)
    assert is_same(network)


def test_the_optimizers_state_and_other_networks_are_no_weights(tmp_path):
    network = Net()
    parameters = nn.ParameterList(copy.deepcopy(list(Net(3).parameters())))
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    value = {
        "best": torch.tensor(0.5),
        "net": THEIRS,
        "optimizer": optimizer.state_dict(),
        "discriminator": under("d."),
    }
    loaded(tmp_path / "w.pth", value, network)
    assert is_same(network)
    network = Net()
    two = under("encoder.") | {"decoder.weight": torch.ones(3, 3)}
    assert "holds 1 more tensors, which are skipped: decoder.weight" in loaded(tmp_path / "w.pth", two, network)
    assert is_same(network)


def test_plain_values_among_the_weights_are_left_out_and_named(tmp_path):
    network = Net()
    assert "holds epoch, arch: not a tensor, skipped" in loaded(
        tmp_path / "w.pth", {"epoch": 3, **THEIRS, "arch": "net"}, network
    )
    assert is_same(network)


def test_safetensors_have_the_same_rules(tmp_path):
    network = Net()
    save_file(under("model.", OTHERS) | under("ema.") | {"n_averaged": torch.ones(1)}, tmp_path / "w.safetensors")
    weights, notes = match(read_saved(locate(tmp_path / "w.safetensors", "best")), network)
    load_weights(network, weights, tmp_path)
    assert is_same(network) and "ema.*" in "; ".join(notes)
