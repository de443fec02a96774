"""No step waits for the device, in any setting: by a read, by a synchronize, or by a copy from pageable memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nnrun.checkpoints.host_copy import HostCopy
from nnrun.core.device import set_deterministic
from nnrun.core.seams.callback import Callback
from on_gpu import tracing
from on_gpu.place import Place
from on_gpu.tracing import look, trace
from on_gpu.trainings import Setup, Window
from on_gpu.waiting import WAITS, look_at_evaluation
from support.on_gpu import CUDA, has_bf16

pytestmark = pytest.mark.gpu
WARMUP, STEPS = 4, 5


@pytest.fixture(autouse=True)
def _put_determinism_back():
    yield
    set_deterministic(False)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", WAITS)
def test_no_step_waits_for_the_device(name, deterministic):
    setup = replace(WAITS[name], deterministic=deterministic)
    if setup.precision == "bf16" and not has_bf16():
        setup = replace(setup, precision="fp16")
    found = look(setup, CUDA, WARMUP, STEPS)
    assert found["waits_at"] == "nowhere"
    # A wait or two of all are the tracing's own.
    assert found["waits_a_step"] <= 2 / STEPS
    assert found["pageable_copies_a_step"] == 0


@pytest.mark.parametrize("deterministic", [False, True])
def test_no_batch_of_an_evaluation_waits_for_the_device(tmp_path, deterministic):
    set_deterministic(deterministic)
    assert look_at_evaluation(Place(CUDA, tmp_path, None, False)) == {"waits_at": "nowhere"}


def test_a_copy_of_the_state_is_asked_for_without_waiting():
    """Negative control: a plain copy waits. The first copy pins its memory, which takes its time."""
    tree = {f"{number}": torch.randn(number, 64, device=CUDA) for number in range(1, 300)}
    tree |= {"kernel": torch.randn(64, 64, 3, 3, device=CUDA).contiguous(memory_format=torch.channels_last)}
    host_copy = HostCopy()
    host_copy.take(tree)
    torch.cuda.set_sync_debug_mode("error")
    try:
        copy = host_copy.take(tree)
        with pytest.raises(RuntimeError, match="synchroniz"):
            tree["1"].to("cpu")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    host_copy.wait()
    assert all(torch.equal(copy[name], tensor.cpu()) for name, tensor in tree.items())
    assert copy["kernel"].stride() == tree["kernel"].stride()


class ReadsTheLoss(Callback):
    def on_gradients_ready(self, state) -> None:
        state.sums["loss"].item()


class Synchronizes(Callback):
    def on_gradients_ready(self, state) -> None:
        torch.cuda.synchronize()


class CopiesFromPageableMemory(Callback):
    def on_gradients_ready(self, state) -> None:
        torch.ones(2**20).to(CUDA, non_blocking=True)


@pytest.mark.parametrize("callback", [ReadsTheLoss, Synchronizes, CopiesFromPageableMemory])
def test_negative_control_a_step_that_waits_is_caught(monkeypatch, callback):
    class Waiting(Window):
        on_gradients_ready = callback.on_gradients_ready

    monkeypatch.setattr(tracing, "Window", Waiting)
    setup = Setup(precision="fp32")
    found = trace(setup, CUDA, WARMUP, STEPS)
    assert found["waits_a_step"] >= 1 or found["pageable_copies_a_step"] >= 1
    if callback is ReadsTheLoss:
        assert look(setup, CUDA, WARMUP, STEPS)["waits_at"] != "nowhere"
