"""A run that is stopped anywhere and resumed gives the bits of one that was never stopped.

Checkpoint files carry the sha256 of all that a training's future depends on in their names, so equal names are equal
bits; metrics.jsonl is compared byte for byte.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import nnrun.core.step
from nnrun.cli import main
from nnrun.core.randomness import seed_step
from support.small_runs import (
    POLLS,
    STEPS,
    STOPS,
    VALID_BATCHES,
    WORDS,
    assert_same_bits,
    manifest,
    resume,
    status,
    stop_at,
    summary,
    tamper,
    train,
)


def test_a_seed_is_a_run_and_another_seed_another(whole, tmp_path):
    assert train(tmp_path / "again") == 0
    assert_same_bits(tmp_path / "again", whole)
    assert manifest(tmp_path / "again") == manifest(whole)
    assert train(tmp_path / "other", "seed=1") == 0
    assert {entry["sha256"] for entry in manifest(tmp_path / "other")["files"]}.isdisjoint(
        entry["sha256"] for entry in manifest(whole)["files"]
    )
    with pytest.raises(AssertionError):
        assert_same_bits(tmp_path / "other", whole)


@pytest.mark.parametrize("where", STOPS)
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(whole, tmp_path, where, capsys):
    run = tmp_path / "run"
    assert train(run, stop=STOPS[where]) == 143
    assert status(run)["state"] == "interrupted"
    if where != "the final measuring":
        assert f"resume with: nnrun resume={run}" in capsys.readouterr().err
    assert resume(run) == 0
    assert_same_bits(run, whole)
    assert status(run)["state"] == "finished"


def test_a_run_stopped_over_and_over_resumes_to_the_same_bits(whole, tmp_path):
    run = tmp_path / "run"
    assert train(run, stop=2) == 143
    assert [resume(run, stop=polls) for polls in (5, 1, 6, 4)] == [143] * 4
    assert resume(run) == 0
    assert_same_bits(run, whole)


OPTIONS: dict[str, Sequence[str]] = {
    "accumulate": ["trainer.accumulate=2", "trainer.log_every_steps=1"],
    "ema": ["trainer.ema_decay=0.9"],
    "clip": ["trainer.grad_clip_norm=0.5"],
    "every step saved": ["trainer.checkpoint_every_steps=1"],
    "max_steps": ["trainer.max_steps=16"],
    "cosine": ["scheduler=cosine"],
    "exponential": ["scheduler=exponential", "scheduler.gamma=0.5"],
    "multistep": ["scheduler=multistep"],
    "onecycle": ["scheduler=onecycle"],
    "plateau": ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"],
    "step": ["scheduler=step", "scheduler.step_size=1"],
    "warmup_cosine": ["scheduler=warmup_cosine", "scheduler.warmup_fraction=0.5"],
    "memory": ["data.residency=memory"],
    "stream": ["data.residency=stream", "data.num_workers=2"],
    "augment": ["augment=[digits,erasing,mixup]"],
    "augment accumulate": ["augment=[digits,mixup,cutmix]", "trainer.accumulate=2", "trainer.log_every_steps=1"],
    "bf16": ["trainer.precision=bf16"],
    "sgd": ["optimizer=sgd"],
    "muon": ["optimizer=muon"],
    "cnn": ["model=cnn", "model.channels=[4,4]", "model.hidden=16", "model.dropout=0.5"],
    "all": [
        "trainer.accumulate=2",
        "trainer.ema_decay=0.9",
        "trainer.grad_clip_norm=0.5",
        "scheduler=onecycle",
        "trainer.precision=bf16",
        "optimizer=adamw",
        "augment=[digits,mixup]",
    ],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_resumed_bits_are_the_same_under_every_option(tmp_path, name):
    """Stopped in the middle of the first epoch, and then, resumed, in the validation of the second."""
    words = OPTIONS[name]
    steps = 3 if "trainer.accumulate=2" in words else STEPS
    first = steps // 2
    assert train(tmp_path / "whole", *words) == 0
    assert train(tmp_path / "run", *words, stop=first) == 143
    assert resume(tmp_path / "run", stop=steps - first + VALID_BATCHES + steps + 2) == 143
    assert manifest(tmp_path / "run")["files"][-1]["step"] == 2 * steps
    assert resume(tmp_path / "run") == 0
    assert_same_bits(tmp_path / "run", tmp_path / "whole")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / manifest(run)["last"], weights_only=True)["model"]


def test_residency_changes_no_bit_and_may_change_on_resume(whole, tmp_path):
    run = tmp_path / "stream"
    assert train(run, "data.residency=stream", "data.num_workers=2", stop=STOPS["mid-epoch"]) == 143
    assert resume(run, "data.residency=device", "data.num_workers=0") == 0
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    ours = weights(whole)
    assert all(torch.equal(weight, ours[name]) for name, weight in weights(run).items())


def test_early_stopping_remembers_the_patience_that_is_used_up(tmp_path):
    """At this rate nothing gets better after epoch 1: a patience of 3 ends it after epoch 4.

    Negative control: with the count forgotten at the stop in epoch 3, it ends after epoch 6.
    """
    words = ["optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=3", "trainer.epochs=9"]
    assert train(tmp_path / "whole", *words) == 0
    for name, forget in (("run", False), ("control", True)):
        run = tmp_path / name
        assert train(run, *words, stop=2 * POLLS + 3) == 143
        if forget:
            tamper(run, lambda training: training["callbacks"]["early_stopping"].update(reference=None, bad_epochs=0))
        assert resume(run) == 0
    assert summary(tmp_path / "whole")["train"]["epochs"] == 4
    assert_same_bits(tmp_path / "run", tmp_path / "whole")
    assert summary(tmp_path / "control")["train"]["epochs"] == 6


def _forget_moments(training: dict) -> None:
    for state in training["optimizer"]["state"].values():
        state["exp_avg"].zero_()


def test_negative_control_a_lost_optimizer_state_shows(whole, stopped):
    tamper(stopped, _forget_moments)
    assert resume(stopped) == 0
    with pytest.raises(AssertionError):
        assert_same_bits(stopped, whole)


def test_negative_control_lost_random_numbers_show(whole, stopped, monkeypatch):
    monkeypatch.setattr(nnrun.core.step, "seed_step", lambda device, seed, *where: seed_step(device, seed + 1, *where))
    assert resume(stopped) == 0
    with pytest.raises(AssertionError):
        assert_same_bits(stopped, whole)


def test_a_run_directory_that_was_moved_resumes(whole, stopped, tmp_path):
    elsewhere = tmp_path / "an other = place, [é]" / "run"
    elsewhere.parent.mkdir()
    shutil.move(stopped, elsewhere)
    assert resume(elsewhere) == 0
    assert_same_bits(elsewhere, whole)
    assert not stopped.exists()


def test_the_latest_run_resumes_by_its_link(whole, tmp_path, monkeypatch, capsys):
    """`outputs/latest` is set anew when a run starts: it must not come to point at itself."""
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "trainer.max_steps=4"]) == 0
    latest = Path("outputs/latest")
    first = latest.resolve()
    assert main(["resume=outputs/latest"]) == 0  # finished: says so
    with stop_at(POLLS + 3):
        assert main(list(WORDS)) == 128 + signal.SIGTERM
    stopped = latest.resolve()
    assert stopped != first
    assert main(["resume=outputs/latest"]) == 0
    assert latest.resolve() == stopped
    assert_same_bits(stopped, whole)
    assert main(["init_from=outputs/latest", *WORDS]) == 0
    assert latest.resolve() not in (first, stopped)
    shutil.rmtree(latest.resolve())
    assert main(["ckpt=outputs/latest"]) == 4
    assert "is a link to" in capsys.readouterr().err
