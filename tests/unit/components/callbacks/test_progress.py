"""What the live line of a training says: the more that matters the sooner, a GPU's memory among it, without a wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nnrun.base.shown import fitting
from nnrun.components.callbacks.progress import TrainingProgress
from nnrun.core.device import peak_memory
from nnrun.core.plan import Plan

GIB = 2**30


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU that is not here, and must not be waited for."""

    def wait(*_: object) -> None:
        raise AssertionError("the host waits for the device")

    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * GIB))
    for name in ("synchronize", "mem_get_info"):
        monkeypatch.setattr(torch.cuda, name, wait)
    return torch.device("cuda", 0)


def line(device: torch.device, width: int | None) -> str:
    """The line of a training in its second epoch."""
    newest = {"train/loss": 0.5, "train/accuracy": 0.75, "train/lr": 0.1, "valid/loss": 0.25}
    rows: Any = SimpleNamespace(newest=newest, epoch={}, validated={})
    plan = Plan(epochs=4, total_steps=2000, accumulate=1, log_every_steps=50, validate_every_steps=None)
    progress: Any = TrainingProgress(None, plan, 64, rows)  # type: ignore[arg-type]
    state: Any = SimpleNamespace(progress=SimpleNamespace(epoch=1, step=500), device=device)
    return fitting(progress._parts(state), width)


def test_the_memory_of_a_gpu_is_known_on_the_host(gpu: torch.device) -> None:
    assert peak_memory(gpu) == (3 * GIB, 80 * GIB)
    assert peak_memory(torch.device("cpu")) is None


def test_the_line_has_the_memory_of_a_gpu_and_of_a_cpu_none(gpu: torch.device) -> None:
    assert "3.0/80 GiB" in line(gpu, None)
    assert "GiB" not in line(torch.device("cpu"), None)


@pytest.mark.parametrize(
    ("width", "has", "has_not"),
    [
        (None, ["epoch 2/4", "loss 0.500", "accuracy 0.750", "samples/s", "GiB", "left"], ["lr", "valid"]),
        (80, ["epoch 2/4", "step 500/2,000", "loss 0.500", "samples/s", "left"], ["accuracy"]),
        (40, ["epoch 2/4", "step 500/2,000", "loss 0.500"], ["GiB", "samples/s"]),
        (24, ["epoch 2/4", "loss 0.500"], ["step"]),
    ],
)
def test_what_matters_most_is_there_on_a_narrow_terminal(
    gpu: torch.device, width: int | None, has: list[str], has_not: list[str]
) -> None:
    said = line(gpu, width)
    assert all(text in said for text in has), said
    assert not any(text in said for text in has_not), said
