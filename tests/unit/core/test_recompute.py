"""trainer.recompute: the same gradients, draws and buffers, from fewer kept activations."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nnrun.core.recompute as module
from nnrun.base.errors import ConfigError
from nnrun.core.device import Precision
from nnrun.core.live_bytes import LiveBytes
from nnrun.core.loop import fit
from nnrun.core.recompute import Recomputing, layers_to_recompute
from nnrun.core.recompute_cost import Need, Passes, bytes_of_step, is_short
from support.small_training import CPU, Small


class Halves(nn.Module):
    """Its output depends on a buffer that each forward pass in training mode changes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.ones(()))

    def forward(self, inputs):
        outputs = inputs * self.share.clone()
        if self.training:
            self.share.mul_(0.5)
        return outputs.tanh()


def block(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.3), Halves())


def deep(num_blocks: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Sequential(*(block() for _ in range(num_blocks))), nn.Linear(8, 3))


def trained(network: nn.Module, names: list[str], **options) -> Small:
    small = Small(num_samples=44, epochs=2, network=network, grad_clip_norm=1.0, **options)
    if names:
        small.state.train_module = Recomputing(network, names, CPU)
    fit(small.state, small.work, small.plan)
    return small


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9, "accumulate": 2}, {"precision": "bf16"}])
def test_a_training_has_the_bits_of_one_that_keeps_its_activations(options):
    """Weights, BatchNorm's statistics, and a buffer that the outputs depend on."""
    plain = trained(deep(), [], **options)
    network = deep()
    ours = trained(network, layers_to_recompute(network, True), **options)
    expected = plain.network.state_dict()
    assert ours.network.state_dict().keys() == expected.keys()
    for key, value in ours.network.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert int(expected["1.0.1.num_batches_tracked"]) == plain.state.progress.step * options.get("accumulate", 1)


@pytest.mark.parametrize("lost", ["buffers", "draws"])
def test_negative_control_without_the_buffers_or_the_draws_of_the_first_pass_the_bits_differ(lost, monkeypatch):
    if lost == "buffers":
        monkeypatch.setattr(module, "_contexts", lambda layer: (module.nullcontext(), module.nullcontext()))
    else:
        monkeypatch.setattr(module, "is_recording", lambda device: True)
    network = deep()
    ours = trained(network, ["1.0", "1.1", "1.2"]).network.state_dict()
    assert not all(torch.equal(value, ours[key]) for key, value in trained(deep(), []).network.state_dict().items())


def passes(network: nn.Module, batch_size: int = 512, width: int = 4) -> Passes:
    inputs = torch.randn(batch_size, width, generator=torch.Generator().manual_seed(0))
    return Passes(network, lambda number: inputs[:number], batch_size, CPU, Precision("fp32", "as asked"), 0)


def peak_of(call, inputs) -> int:
    with LiveBytes() as live:
        call(inputs).sum().backward()
    return live.peak


def test_a_deep_network_needs_less_memory_and_its_need_is_foretold_from_few_samples():
    network = deep(24)
    recomputing = Recomputing(network, layers_to_recompute(network, True), CPU)
    found, before = passes(network), copy.deepcopy(network.state_dict())
    draws = torch.get_rng_state()
    plain, less = found.need(network), found.need(recomputing)
    calls = found.calls([*recomputing.names, "1.0.0"])
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    for need, call in ((plain, network), (less, recomputing)):
        peak = peak_of(call, torch.randn(512, 4))
        assert peak <= need.num_bytes <= 1.2 * peak
    assert less.num_bytes < plain.num_bytes / 3
    assert plain.flops < less.flops < 1.5 * plain.flops
    assert calls.never == []
    assert calls.drawing == list(recomputing.names), "dropout draws, a Linear does not"


def test_memory_that_is_freed_is_not_counted():
    """Negative control of the measure: what is kept adds up."""
    with LiveBytes() as live:
        for _ in range(4):
            torch.zeros(1000)
    with LiveBytes() as kept:
        held = [torch.zeros(1000) for _ in range(4)]
    assert (live.peak, kept.peak) == (4000, 16000)
    assert len(held) == 4


def test_frozen_layers_and_evaluations_are_not_computed_again():
    network = deep().requires_grad_(False)
    network[2].requires_grad_(True)
    calls = []
    network[1][0][0].register_forward_hook(lambda *_: calls.append(1))
    recomputing = Recomputing(network, ["1.0"], CPU)
    recomputing(torch.randn(8, 4)).sum().backward()
    with torch.inference_mode():
        recomputing(torch.randn(8, 4))
    assert len(calls) == 2
    assert "forward" not in vars(network[1][0])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (True, ["1.0", "1.1", "1.2"]),
        ("1.0", ["1.0"]),
        (["1.2", "1.0.*"], ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.2"]),
        ("1*", ["1"]),
    ],
)
def test_layers_by_name(wanted, expected):
    assert layers_to_recompute(deep(), wanted) == expected


@pytest.mark.parametrize(
    ("network", "wanted", "said"),
    [
        (deep(), ["1", "1.0"], "1.0 is in another of the layers; leave it out"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), True, "no blocks.*name its layers: trainer.recompute=\\[0,1\\]"),
        (
            nn.ModuleDict({"encoder": nn.Linear(2, 2)}),
            "encodr",
            "no layer of the network is called encodr; did you mean",
        ),
        (nn.ModuleDict({"encoder": nn.Linear(2, 2)}), "x", "available: encoder, and the layers in them"),
        (nn.ModuleDict({"rows": nn.ModuleList([block()])}), "rows", "rows only holds layers.*use 'rows.\\*'"),
    ],
)
def test_layers_that_are_not_there_are_named(network, wanted, said):
    with pytest.raises(ConfigError, match=said):
        layers_to_recompute(network, wanted)


def test_auto_compares_what_a_step_needs_with_what_is_free():
    network = nn.Linear(1000, 1)
    needed = bytes_of_step(Need(10_000, 0), network)
    assert needed == 10_000 + 2 * 4 * 1001
    assert (is_short(needed, needed - 1), is_short(needed, needed)) == (True, False)
