"""What only a CUDA device shows: half precision, layouts, memory, fp32 that is fp32."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
import torch
from torch.utils._pytree import tree_leaves

import nnrun
from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import calling
from nnrun.checkpoints.manifest import CHECKPOINT_SCHEMA
from nnrun.cli import main
from nnrun.components.data.digits import Digits
from nnrun.core.batches import SplitBatches
from nnrun.core.device import choose_precision, set_deterministic, set_exact
from nnrun.core.residency import Layout, samples_at
from nnrun.core.seams.batch import Batch
from support.on_gpu import CUDA, SMALL, WORDS, has_bf16, last, read, train

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _put_determinism_back():
    yield
    set_deterministic(False)


def test_fp16_with_a_scaled_loss_learns_the_digits(tmp_path):
    run = tmp_path / "run"
    assert train(run, "model=cnn", "trainer.precision=fp16", "trainer.epochs=10", "export=none") == 0
    saved = last(run)
    assert saved["config"]["trainer"]["precision"] == "fp16"
    assert saved["training"]["scaler"]["scale"] > 1
    # Adam counts the updates that were made: few may be left out, the first ones, while the scale is found.
    made = min(float(state["step"]) for state in saved["training"]["optimizer"]["state"].values())
    assert 0.9 * saved["training"]["progress"]["step"] <= made
    assert all(weight.dtype == torch.float32 for weight in saved["model"].values())
    assert read(run / "summary.json")["metrics"]["test/accuracy"] > 0.9


def test_fp16_with_clipping_and_an_average_learns_too(tmp_path):
    run = tmp_path / "run"
    words = ["trainer.grad_clip_norm=1.0", "trainer.ema_decay=0.9", "trainer.accumulate=2"]
    assert train(run, "model=cnn", "trainer.precision=fp16", "trainer.epochs=10", "export=none", *words) == 0
    assert read(run / "summary.json")["metrics"]["test/accuracy"] > 0.85


def test_auto_is_what_the_gpu_computes_in(tmp_path):
    expected = "bf16" if has_bf16() else "fp16"
    assert choose_precision("auto", CUDA).name == expected
    run = tmp_path / "run"
    assert train(run, "model=cnn", "trainer.epochs=10", "export=none") == 0
    trainer = last(run)["config"]["trainer"]
    assert (trainer["precision"], trainer["device"], trainer["channels_last"]) == (expected, "cuda:0", True)
    assert read(run / "summary.json")["metrics"]["test/accuracy"] > 0.85


@pytest.mark.parametrize("channels_last", [True, False])
def test_kernels_lie_as_asked(tmp_path, channels_last):
    words = ["model=cnn", f"trainer.channels_last={str(channels_last).lower()}", "trainer.max_steps=3", "export=none"]
    assert train(tmp_path / "run", *words) == 0
    saved = last(tmp_path / "run")
    assert saved["config"]["trainer"]["channels_last"] is channels_last
    kernels = [weight for weight in saved["model"].values() if weight.dim() == 4 and weight.shape[1] > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) is channels_last for kernel in kernels)


def test_a_checkpoint_of_a_gpu_is_read_on_a_cpu(tmp_path):
    """Its tensors are the host's: a plain torch.load, without map_location, works where there is no device."""
    run = tmp_path / "run"
    assert train(run, *SMALL) == 0
    saved = last(run)
    assert saved["schema"] == CHECKPOINT_SCHEMA
    leaves = [leaf for leaf in tree_leaves(saved) if isinstance(leaf, torch.Tensor)]
    assert {leaf.device.type for leaf in leaves} == {"cpu"}
    network = nnrun.load(run)
    assert {weight.device.type for weight in network.parameters()} == {"cpu"}
    with contextlib.chdir(tmp_path):
        assert main([f"ckpt={run}", "trainer.device=cpu", f"hydra.run.dir={tmp_path / 'evaluated'}"]) == 0
    ours, theirs = (read(tmp_path / name / "summary.json")["metrics"] for name in ("run", "evaluated"))
    assert theirs["test/accuracy"] == pytest.approx(ours["test/accuracy"], abs=0.01)
    assert theirs["test/loss"] == pytest.approx(ours["test/loss"], rel=1e-2)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_export_of_a_gpu_run_is_proven(tmp_path, model):
    run = tmp_path / "run"
    assert train(run, f"model={model}", "trainer.epochs=3") == 0
    proof = read(run / "exports/onnx/verification.json")
    assert proof["ok"] is True
    assert proof["agreement"] > 0.999
    assert proof["metric_eager"] == pytest.approx(read(run / "summary.json")["metrics"]["test/accuracy"], abs=0.01)


def test_a_batch_taken_on_the_device_is_the_one_taken_on_the_host():
    dataset = Digits().load()

    def first(device: torch.device) -> Batch:
        return next(
            iter(SplitBatches(samples_at(dataset.train, Layout(device)), dataset.preprocessing, 32, 0).epoch(1))
        )

    ours, theirs = first(CUDA), first(torch.device("cpu"))
    assert ours.inputs.device == CUDA
    assert torch.equal(ours.targets.cpu(), theirs.targets)
    torch.testing.assert_close(ours.inputs.cpu(), theirs.inputs, rtol=0, atol=1e-6)


def test_fp32_is_fp32():
    """Negative control: with TF32, which cuDNN takes by default, products have three digits."""
    if not has_bf16():
        pytest.skip("this GPU has no TF32")
    inputs, kernels = (torch.randn(8, 64, 16, 16), torch.randn(64, 64, 3, 3))
    exact = torch.nn.functional.conv2d(inputs.double(), kernels.double())

    def error() -> float:
        found = torch.nn.functional.conv2d(inputs.to(CUDA), kernels.to(CUDA)).cpu()
        return float((found - exact).abs().max() / exact.abs().max())

    torch.backends.cudnn.conv.fp32_precision = "tf32"
    assert error() > 1e-4
    set_exact()
    assert error() < 1e-5


def test_too_large_a_batch_is_exit_code_5_and_the_next_run_works(tmp_path, capsys):
    torch.cuda.set_per_process_memory_fraction(0.003)
    try:
        words = ["model=resnet18", "data.batch_size=1400", "data.val_fraction=0", "early_stopping=none", "export=none"]
        assert train(tmp_path / "large", *words, "trainer.precision=fp32", "trainer.epochs=1") == 5
        assert "data.batch_size=700 trainer.accumulate=2" in capsys.readouterr().err
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert train(tmp_path / "small", *SMALL) == 0


def test_an_operation_without_a_deterministic_version_names_the_setting():
    """Negative control: with trainer.deterministic=false it works."""
    pool, inputs = torch.nn.AdaptiveAvgPool2d((7, 7)), torch.randn(2, 3, 6, 6, device=CUDA, requires_grad=True)
    pool(inputs).sum().backward()
    set_deterministic(True)
    says = r"trainer.deterministic=true: model uses adaptive_avg_pool2d_backward_cuda"
    with pytest.raises(ConfigError, match=says), calling("model"):
        pool(inputs).sum().backward()


def test_deterministic_sets_the_workspace_of_cublas_by_itself(tmp_path):
    """In a process whose environment has none: without it, the first product would fail."""
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    command = [sys.executable, "-m", "nnrun", *WORDS, *SMALL, "trainer.deterministic=true", "trainer.max_steps=3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
