"""What trainer.compile becomes, and a compiled network in a captured step that computes activations again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nnrun.core.captured_evaluation import CapturedEvaluation
from nnrun.core.captured_step import CapturedStep
from nnrun.core.compile import choose_compile, compile_network
from nnrun.core.loop import fit
from nnrun.core.recompute import Recomputing, layers_to_recompute
from support.small_training import CPU, Small, make_network, make_split
from support.tape import TapeRecorder


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


@pytest.fixture
def compiled_eagerly(monkeypatch):
    """torch.compile without its compiler of kernels, which takes most of the time: what it traces is the same."""
    plain = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: plain(self, backend="aot_eager", dynamic=False))
    yield
    torch.compiler.reset()


def trained(*, compiled: bool) -> tuple[Small, TapeRecorder, list[str]]:
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh()) for _ in range(1)))
    torch.manual_seed(0)
    for layer in blocks.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    small = Small(num_samples=40, epochs=1, network=make_network(blocks), valid=make_split(23, seed=1), ema_decay=0.9)
    recorder, problems = TapeRecorder(), []
    if compiled:
        names = layers_to_recompute(small.network, True)
        assert names == ["1.0"]
        small.state.train_module = Recomputing(small.network, names, CPU)
        compile_network(small.state, small.work.train.take(small.work.train.order(0)[0])[0])
        step = CapturedStep(small.work.step, small.work.train, recorder, problems.append)
        evaluation = CapturedEvaluation(recorder, problems.append)
        small.work = replace(small.work, step=step, train=step.rows, evaluate=evaluation)
    fit(small.state, small.work, small.plan)
    return small, recorder, problems


@pytest.mark.usefixtures("compiled_eagerly")
def test_a_compiled_network_is_recorded_and_computes_its_activations_again():
    """Its weights, their average and BatchNorm's statistics, updated once a step, are those of a plain network."""
    ours, recorder, problems = trained(compiled=True)
    theirs, _, _ = trained(compiled=False)
    assert problems == []
    assert len(recorder.tapes) == 2  # a step, and a batch of the validation
    for one, other in ((ours.network, theirs.network), (ours.state.ema.network, theirs.state.ema.network)):
        expected = other.state_dict()
        for key, value in one.state_dict().items():
            assert torch.allclose(value, expected[key], atol=1e-4), key
