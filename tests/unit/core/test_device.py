"""What auto becomes, what is refused, and what stays fp32."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Adagrad, Adam

from nnrun.base.errors import ConfigError, ResourceError
from nnrun.core import device as precision
from nnrun.core.device import (
    Precision,
    choose_channels_last,
    choose_device,
    choose_precision,
    has_fused_kernel,
    kernels,
    set_deterministic,
    set_exact,
)
from nnrun.core.loop import fit

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
FP32, BF16 = Precision("fp32", ""), Precision("bf16", "")


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match=r"trainer.precision=fp16 needs a GPU.*fp32 or bf16"):
        choose_precision("fp16", CPU)
    assert choose_precision("bf16", CPU).name == "bf16"


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_is_fp32_on_a_cpu_and_says_where_bf16_is_faster(monkeypatch, has_bf16):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
    chosen = choose_precision("auto", CPU)
    assert chosen.name == "fp32"
    assert ("bf16" in chosen.reason) is has_bf16


@pytest.mark.parametrize(("capability", "name"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu_follows_what_it_computes_in(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    chosen = choose_precision("auto", CUDA)
    assert chosen.name == name
    assert chosen.scales_gradients is (name == "fp16")


@pytest.mark.parametrize("wanted", ["cuda:7", "cuda"])
def test_a_device_that_is_not_here_is_named(monkeypatch, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=f"trainer.device={wanted}: this machine has no CUDA device; use .*auto"):
        choose_device(wanted)


def test_bf16_trains_in_bf16_with_weights_and_gradients_in_fp32(small):
    seen = []

    class Spy(nn.Module):
        def forward(self, inputs):
            seen.append(inputs.dtype)
            return inputs

    network = nn.Sequential(nn.Linear(4, 8), Spy(), nn.Linear(8, 3))
    training = small(network=network, precision="bf16", epochs=3, num_samples=24)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    fit(training.state, training.work, training.plan)
    assert set(seen) == {torch.bfloat16}
    for name, weight in network.state_dict().items():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, before[name])
        # Negative control: weights kept in bf16 would be equal to themselves rounded to bf16.
        assert not torch.equal(weight, weight.bfloat16().float())


def test_bf16_learns_what_fp32_learns_to_rounding_and_not_exactly(small, make_network):
    losses = {}
    for name in ("fp32", "bf16"):
        training = small(network=make_network(), precision=name, epochs=5, num_samples=24)
        fit(training.state, training.work, training.plan)
        losses[name] = training.objective.train_metric.compute(training.state.sums)["loss"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


CONV, LINEAR = nn.Sequential(nn.Conv2d(1, 1, 3)), nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("wanted", "network", "device", "kind", "expected"),
    [
        ("auto", CONV, CPU, FP32, True),
        ("auto", LINEAR, CPU, FP32, False),
        ("auto", CONV, CUDA, FP32, False),
        ("auto", CONV, CUDA, BF16, True),
        ("auto", LINEAR, CUDA, BF16, False),
        ("auto", CONV, torch.device("mps"), FP32, False),
        (True, LINEAR, CPU, FP32, True),
        (False, CONV, CPU, FP32, False),
    ],
)
def test_channels_last_is_for_convolutions_where_it_pays(wanted, network, device, kind, expected):
    assert choose_channels_last(wanted, network, device, kind) is expected


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        (Adam, [("cpu", torch.float32)], True),
        (Adam, [("cpu", torch.float32), ("cpu", torch.bfloat16)], True),
        (Adam, [("cpu", torch.float32), ("cpu", torch.complex64)], False),
        (Adam, [("meta", torch.float32)], False),
        (Adam, [("cuda", torch.float32), ("cuda", torch.float16)], True),
        (Adagrad, [("cpu", torch.float32)], True),
        (Adagrad, [("cuda", torch.float32)], False),
    ],
)
def test_optimizers_are_fused_where_torch_wrote_a_kernel(kind, params, expected):
    """On fake tensors, which need no GPU."""
    with FakeTensorMode():
        given = [torch.zeros(2, device=device, dtype=dtype) for device, dtype in params]
        assert has_fused_kernel(lambda scratch: kind(scratch, fused=True), given) is expected


def test_deterministic_refuses_whatever_was_set_before_and_can_be_taken_back():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        set_deterministic(True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_deterministic_kernels_fill_no_memory_and_the_others_are_the_fastest():
    set_deterministic(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory is False
        assert torch.backends.cudnn.benchmark is False
    finally:
        set_deterministic(False)
    assert torch.backends.cudnn.benchmark is True


@pytest.mark.parametrize("before", ["cudnn", "cudnn by its newer name", "all", "matmul", "high"])
def test_fp32_is_fp32_and_not_tf32_whatever_a_program_has_set_and_the_environment_says_so(before):
    """Negative control: the values recorded are the values set."""
    switches = {
        "cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", True),
        "cudnn by its newer name": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32"),
        "all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
        "matmul": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        "high": lambda: torch.set_float32_matmul_precision("high"),
    }
    switches[before]()
    cpu = torch.device("cpu")
    found = (kernels(cpu)["fp32_convolution"], kernels(cpu)["fp32_matmul"])
    set_exact()
    # A setting of one kind of operation overrides the setting of all.
    assert found != ("ieee", "ieee") or before == "all"
    assert (kernels(cpu)["fp32_convolution"], kernels(cpu)["fp32_matmul"]) == ("ieee", "ieee")
    # The name that torch's compiler and older programs read.
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.get_float32_matmul_precision() == "highest"
