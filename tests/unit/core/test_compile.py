"""What trainer.compile becomes: a function of the device and the length of the run."""

from __future__ import annotations

import pytest
import torch

from nnrun.core.compile import choose_compile


@pytest.mark.parametrize(
    ("wanted", "device", "num_steps", "enabled", "reason"),
    [
        (True, "cpu", 1, True, "as asked"),
        (False, "cuda", 10**9, False, "as asked"),
        ("auto", "cpu", 10**9, False, "seldom pays"),
        ("auto", "mps", 10**9, False, "seldom pays"),
        ("auto", "cuda", 299_999, False, "299,999 steps; compiling pays off from about 300,000"),
        ("auto", "cuda", 300_000, True, "300,000 steps"),
    ],
)
def test_auto_compiles_long_runs_on_a_gpu(wanted, device, num_steps, enabled, reason):
    chosen = choose_compile(wanted, torch.device(device), num_steps)
    assert chosen.enabled is enabled
    assert reason in chosen.reason
