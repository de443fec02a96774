"""A resumed run has the bits of one that was never stopped, and samples may lie anywhere."""

from __future__ import annotations

import pytest

from nnrun.core.device import set_deterministic
from support.on_gpu import SMALL, assert_resumed_to_the_same_bits, has_bf16, train

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _put_determinism_back():
    yield
    set_deterministic(False)


CASES = {
    "fp32": ["trainer.precision=fp32"],
    "bf16": ["trainer.precision=bf16"],
    "fp16": ["trainer.precision=fp16"],
    "BatchNorm in bf16, channels last": [
        *("model=cnn", "model.batchnorm=true", "trainer.precision=bf16", "trainer.channels_last=true"),
        "trainer.ema_decay=0.9",
    ],
    "resnet18": ["model=resnet18", "trainer.precision=fp32"],
    "trivialaugment with cutmix": ["model=cnn", "augment=[trivialaugment,cutmix]", "trainer.precision=fp32"],
    "captured": ["model=cnn", "trainer.cuda_graph=true", "trainer.precision=fp32"],
    "captured, bf16, average, mixup": [
        *("model=cnn", "trainer.cuda_graph=true", "trainer.precision=bf16", "augment=mixup"),
        *("trainer.ema_decay=0.9", "scheduler=cosine"),
    ],
    "Muon, skip": ["model=cnn", "optimizer=muon", "trainer.nonfinite=skip", "trainer.precision=fp32"],
    "RAdam, skip": ["model=cnn", "optimizer=radam", "trainer.nonfinite=skip", "trainer.precision=fp32"],
}


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_has_the_bits_of_one_that_was_never_stopped(tmp_path, name):
    if "trainer.precision=bf16" in CASES[name] and not has_bf16():
        pytest.skip("this GPU does not compute in bf16")
    assert_resumed_to_the_same_bits(tmp_path, CASES[name])


def test_where_the_samples_lie_changes_no_bit(tmp_path):
    rows = {}
    for residency, workers in (("device", 0), ("memory", 0), ("stream", 2)):
        run = tmp_path / residency
        words = [f"data.residency={residency}", f"data.num_workers={workers}", "trainer.deterministic=true"]
        assert train(run, *SMALL, *words) == 0
        rows[residency] = (run / "metrics.jsonl").read_bytes()
    assert rows["memory"] == rows["device"]
    assert rows["stream"] == rows["device"]
