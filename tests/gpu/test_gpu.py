"""What only a CUDA device shows: half precision, layouts, bits, and that no step waits for the device."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
import torch

import nnrun
from nnrun.cli import main
from nnrun.core.batches import Layout, make_batches
from nnrun.core.ema import Ema
from nnrun.core.loop import Plan, Work, train_epoch
from nnrun.core.precision import Precision, choose_precision
from nnrun.core.seams import Batch, Batches, Callback
from nnrun.core.state import TrainState
from nnrun.data.digits import Digits
from nnrun.losses.cross_entropy import CrossEntropy
from nnrun.models.cnn import CNN
from nnrun.problems.classification import Classification
from run_fixtures import stop_at

pytestmark = pytest.mark.gpu

# cuBLAS reads it once, at its first product in this process.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CUDA = torch.device("cuda", 0)
WORDS = ("trainer.device=cuda", "trainer.progress=false")
SMALL = (
    "model=mlp",
    "data.limit=200",
    "data.val_fraction=0.2",
    "trainer.epochs=3",
    "export=none",
    "data.batch_size=30",
)


@pytest.fixture(autouse=True)
def _put_determinism_back():
    yield
    torch.use_deterministic_algorithms(False)


def train(run: Path, *words: str) -> int:
    with contextlib.chdir(run.parent):
        return main([*WORDS, *words, f"hydra.run.dir={run}"])


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def last(run: Path) -> dict:
    name = read(run / "checkpoints/manifest.json")["last"]
    return torch.load(run / "checkpoints" / name, weights_only=True, map_location="cpu")


def has_bf16() -> bool:
    return torch.cuda.get_device_capability(0) >= (8, 0)


def test_fp16_with_a_scaled_loss_learns_the_digits(tmp_path):
    run = tmp_path / "run"
    assert train(run, "model=cnn", "trainer.precision=fp16", "trainer.epochs=10", "export=none") == 0
    saved = last(run)
    assert saved["config"]["trainer"]["precision"] == "fp16"
    assert saved["training"]["scaler"]["scale"] > 1
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


@pytest.mark.parametrize(
    ("precision", "more"),
    [
        ("fp32", []),
        ("bf16", []),
        ("fp16", []),
        ("fp32", ["trainer.compile=true"]),
        ("fp16", ["trainer.compile=true", "trainer.ema_decay=0.9"]),
    ],
)
def test_a_resumed_run_has_the_bits_of_one_that_was_never_stopped(tmp_path, precision, more):
    """Negative control: another seed has other bits."""
    if precision == "bf16" and not has_bf16():
        pytest.skip("this GPU does not compute in bf16")
    words = [*SMALL, "trainer.deterministic=true", f"trainer.precision={precision}", "trainer.log_every_steps=2", *more]
    assert train(tmp_path / "whole", *words) == 0
    with stop_at(10):
        assert train(tmp_path / "run", *words) == 143
    with contextlib.chdir(tmp_path):
        assert main([f"resume={tmp_path / 'run'}"]) == 0
    assert train(tmp_path / "other", *words, "seed=1") == 0
    rows, names = {}, {}
    for name in ("whole", "run", "other"):
        rows[name] = (tmp_path / name / "metrics.jsonl").read_bytes()
        names[name] = read(tmp_path / name / "checkpoints/manifest.json")["last"]
    assert rows["run"] == rows["whole"]
    assert names["run"] == names["whole"]
    assert rows["other"] != rows["whole"]


def test_a_checkpoint_of_a_gpu_is_read_on_a_cpu(tmp_path):
    run = tmp_path / "run"
    assert train(run, *SMALL) == 0
    saved = torch.load(run / "checkpoints" / read(run / "checkpoints/manifest.json")["last"], weights_only=True)
    assert saved["schema"] == 1
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


def test_a_compiled_network_keeps_its_key_names_and_learns(tmp_path):
    compiled, plain = tmp_path / "compiled", tmp_path / "plain"
    words = ["model=cnn", "trainer.epochs=3", "trainer.precision=fp32", "export=none"]
    assert train(compiled, *words, "trainer.compile=true") == 0
    assert train(plain, *words) == 0
    ours, theirs = last(compiled), last(plain)
    assert ours["config"]["trainer"]["compile"] is True
    assert list(ours["model"]) == list(theirs["model"])
    metrics = [read(run / "summary.json")["metrics"] for run in (compiled, plain)]
    assert metrics[0]["test/accuracy"] == pytest.approx(metrics[1]["test/accuracy"], abs=0.05)
    nnrun.load(compiled)


def test_where_the_samples_lie_changes_no_bit(tmp_path):
    rows = {}
    for residency, workers in (("device", 0), ("memory", 0), ("stream", 2)):
        run = tmp_path / residency
        words = [f"data.residency={residency}", f"data.num_workers={workers}", "trainer.deterministic=true"]
        assert train(run, *SMALL, *words) == 0
        rows[residency] = (run / "metrics.jsonl").read_bytes()
    assert rows["memory"] == rows["device"]
    assert rows["stream"] == rows["device"]


class Errors(Callback):
    """Let a wait for the device be an error, but for the logged steps and what follows the last one."""

    def __init__(self, log_every_steps: int, last_step: int) -> None:
        self._every = log_every_steps
        self._last = last_step
        self.steps = 0

    def on_step_end(self, state) -> None:
        self.steps += 1
        step = state.progress.step
        may_wait = (step + 1) % self._every == 0 or step + 1 >= self._last
        torch.cuda.set_sync_debug_mode("default" if may_wait else "error")


class ReadsTheLoss(Callback):
    def on_gradients_ready(self, state) -> None:
        state.sums["loss"].item()


def small_training(precision: str, *callbacks: Callback, **options) -> tuple[TrainState, Work, Plan]:
    """A training of the CNN out of the core's own parts, with its samples on the device."""
    dataset = Digits().load()
    problem = Classification(CrossEntropy(), dataset.class_names)
    train: Batches = make_batches(dataset.train, dataset.preprocessing, 32, 0, Layout(CUDA, channels_last=True))
    network = CNN((1, 28, 28), 10, [4, 8], 16, 0.5).to(CUDA, memory_format=torch.channels_last)
    kind = Precision(precision, "as asked")
    state = TrainState(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), fused=True),
        scheduler=None,
        scaler=torch.amp.GradScaler("cuda") if kind.scales_gradients else None,
        ema=Ema(network, 0.99) if options.get("ema") else None,
        device=CUDA,
        precision=kind,
        seed=0,
        sums=problem.train_metric.init(CUDA),
        callbacks=callbacks,
    )
    every = options.get("log_every_steps", 10)
    plan = Plan(1, 30, options.get("accumulate", 1), options.get("grad_clip_norm"), log_every_steps=every)
    return state, Work(problem, train, None), plan


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("fp32", {}),
        ("bf16", {}),
        ("bf16", {"ema": True, "grad_clip_norm": 0.5}),
        ("fp32", {"accumulate": 2, "log_every_steps": 5}),
    ],
)
def test_no_step_between_two_logs_waits_for_the_device(precision, options):
    if precision == "bf16" and not has_bf16():
        pytest.skip("this GPU does not compute in bf16")
    # The first epoch makes what is kept: cached constants, the optimizer's state, the kernels that cuDNN picks.
    state, work, plan = small_training(precision, **options)
    train_epoch(state, work, plan)
    last_step = min(plan.total_steps, -(-work.train.num_batches // plan.accumulate))
    watch = Errors(plan.log_every_steps, last_step)
    state.callbacks = [watch]
    state.progress.epoch, state.progress.batch, state.progress.step = 1, 0, 0
    try:
        train_epoch(state, work, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watch.steps >= 20


def test_negative_control_a_step_that_waits_is_caught():
    state, work, plan = small_training("fp32", ReadsTheLoss(), Errors(10, 30))
    try:
        with pytest.raises(RuntimeError, match="synchronizing CUDA operation"):
            train_epoch(state, work, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_batch_taken_on_the_device_is_the_one_taken_on_the_host():
    dataset = Digits().load()

    def first(device: torch.device) -> Batch:
        return next(iter(make_batches(dataset.train, dataset.preprocessing, 32, 0, Layout(device)).epoch(1)))

    ours, theirs = first(CUDA), first(torch.device("cpu"))
    assert ours.inputs.device == CUDA
    assert torch.equal(ours.targets.cpu(), theirs.targets)
    torch.testing.assert_close(ours.inputs.cpu(), theirs.inputs, rtol=0, atol=1e-6)
