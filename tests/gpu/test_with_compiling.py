"""Compiled networks on a GPU: last of all, since each takes half a minute to compile."""

from __future__ import annotations

import pytest

import nnrun
from nnrun.core.device import set_deterministic
from support.on_gpu import assert_resumed_to_the_same_bits, last, read, train

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _put_determinism_back():
    yield
    set_deterministic(False)


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.precision=fp32", "trainer.compile=true"],
        ["trainer.precision=fp16", "trainer.compile=true", "trainer.ema_decay=0.9"],
    ],
)
def test_a_resumed_run_of_a_compiled_network_has_the_bits_of_one_that_was_never_stopped(tmp_path, words):
    assert_resumed_to_the_same_bits(tmp_path, words)


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
