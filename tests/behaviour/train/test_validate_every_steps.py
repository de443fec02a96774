"""Validation within an epoch: what it decides, what is written of it, and resuming from any point of it.

Six steps an epoch and three validation batches. With a validation every four steps, the steps 4, 8 and 16 are validated
within an epoch, and 6, 12 and 18 at its end, of which 12 is one of both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from nnrun.checkpoints.folder import CheckpointFolder
from nnrun.checkpoints.payload import Payload
from support.command_line import run_here
from support.small_runs import assert_same_bits, manifest, resume, summary, train

EVERY_4 = ("trainer.validate_every_steps=4",)
# A network with BatchNorm and dropout, small enough for many runs.
CNN = ("model=cnn", "model.channels=[4,6]", "model.hidden=8", "model.batchnorm=true", "model.dropout=0.3")


def rows(run: Path, split: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["split"] == split]


def lines(run: Path) -> list[str]:
    return re.findall(r"^epoch +\d+  step .*$", (run / "run.log").read_text(), flags=re.M)


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("validated") / "run"
    assert train(run, *EVERY_4) == 0
    return run


def test_each_validation_has_a_row_a_line_and_a_checkpoint_of_its_own(validated: Path) -> None:
    steps = [(row["epoch"], row["step"]) for row in rows(validated, "valid")]
    assert steps == [(1, 4), (1, 6), (2, 8), (2, 12), (3, 16), (3, 18)]
    said = [tuple(map(int, re.match(r"epoch +(\d+)  step +(\d+)", line).groups())) for line in lines(validated)]
    assert said == steps
    for line, row in zip(lines(validated), rows(validated, "valid"), strict=True):
        assert f"valid/loss {row['loss']:.4f}" in line
    assert [entry["step"] for entry in manifest(validated)["files"]] == [16, 18]
    training = torch.load(validated / "checkpoints" / manifest(validated)["files"][0]["name"])["training"]
    at = training["progress"]
    assert (at["epoch"], at["batch"], at["step"], at["validated_step"]) == (2, 4, 16, 16)


def test_it_changes_nothing_of_the_training(validated: Path, whole: Path) -> None:
    """The epochs end with the same figures: the validation's, and the training's mean over the epoch."""
    ends = [row for row in rows(validated, "valid") if row["step"] % 6 == 0]
    assert ends == rows(whole, "valid")
    assert [line for line in lines(validated) if re.search(r"step +(6|12|18) ", line)] == lines(whole)
    assert rows(validated, "test") == rows(whole, "test")


def test_best_weights_and_the_end_may_lie_within_an_epoch(tmp_path: Path) -> None:
    """At this rate nothing gets better after the first validation. Negative control: epochs alone take longer."""
    words = ["optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=3", "trainer.epochs=9"]
    assert train(tmp_path / "run", *words, *EVERY_4) == 0
    found = summary(tmp_path / "run")
    assert found["best"] == {"epoch": 1, "step": 4}
    assert found["train"]["stop_reason"] == "valid/loss has not improved for 3 validations"
    assert (found["train"]["steps"], found["train"]["epochs"]) == (12, 2)
    words[2] = "early_stopping.patience=2"
    assert train(tmp_path / "mid", *words, *EVERY_4) == 0
    assert (summary(tmp_path / "mid")["train"]["steps"], summary(tmp_path / "mid")["train"]["epochs"]) == (8, 2)
    assert [row["step"] for row in rows(tmp_path / "mid", "valid")] == [4, 6, 8]
    assert len(lines(tmp_path / "mid")) == 3
    assert manifest(tmp_path / "mid")["files"][-1]["step"] == 8
    assert train(tmp_path / "epochs", *words) == 0
    assert summary(tmp_path / "epochs")["train"]["steps"] == 18


def test_a_plateau_goes_by_validations_and_a_schedule_by_epochs_stays_one(tmp_path: Path) -> None:
    """A loss that never halves: the rate falls after each validation but the first."""
    plateau = ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5", "trainer.log_every_steps=1")
    assert train(tmp_path / "plateau", *plateau, *EVERY_4) == 0
    rates = {row["step"]: row["lr"] for row in rows(tmp_path / "plateau", "train")}
    assert [rates[step] for step in (4, 5, 7, 9)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    decay = ("scheduler=exponential", "scheduler.gamma=0.5")
    assert train(tmp_path / "often", *decay, *EVERY_4) == 0
    assert train(tmp_path / "seldom", *decay) == 0
    rates, seldom = ({row["step"]: row["lr"] for row in rows(tmp_path / name, "train")} for name in ("often", "seldom"))
    assert rates == seldom
    assert len(set(seldom.values())) > 2


OPTIONS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "every step": ("trainer.validate_every_steps=1",),
    "ema": ("trainer.ema_decay=0.9", "trainer.grad_clip_norm=0.5", "trainer.log_every_steps=5"),
    "batchnorm": CNN,
    "frozen": (*CNN, "transfer.freeze=backbone"),
    "thawing": (*CNN, "transfer.freeze=backbone", "transfer.unfreeze_epoch=2", "trainer.ema_decay=0.9"),
    "frozen anew": (*CNN, "transfer.freeze=backbone", "transfer.cache=false"),
    "skip": (*CNN, "trainer.nonfinite=skip", "trainer.grad_clip_norm=0.5"),
    "max_steps": ("trainer.max_steps=15",),
    "saved often": ("trainer.checkpoint_every_steps=2",),
    "plateau": ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5"),
    "onecycle": ("scheduler=onecycle",),
    "stream": ("data.residency=stream", "data.num_workers=2"),
    "augment": ("augment=[digits,mixup]", "trainer.log_every_steps=5"),
    "patience": ("optimizer=sgd", "optimizer.lr=1e-30", "early_stopping.patience=3"),
}
# In polls: the step that is validated next, its first and its last batch, the step after it; an epoch's end that is due
# anyway, and its last batch.
STOPS = (4, 5, 7, 8, 21, 24)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(tmp_path: Path, name: str) -> None:
    words = (*EVERY_4, *OPTIONS[name])
    assert train(tmp_path / "whole", *words) == 0
    for stop in STOPS if name == "plain" else STOPS[1::3]:
        run = tmp_path / f"stopped at {stop}"
        assert train(run, *words, stop=stop) == 143
        assert resume(run) == 0
        assert_same_bits(run, tmp_path / "whole")
        assert lines(run) == lines(tmp_path / "whole")
    steps = [row["step"] for row in rows(tmp_path / "whole", "valid")]
    assert steps == sorted(set(steps))


def test_accumulated_steps_are_counted_as_one(tmp_path: Path) -> None:
    words = ("trainer.accumulate=2", "trainer.validate_every_steps=2", "trainer.log_every_steps=3", *CNN)
    assert train(tmp_path / "whole", *words) == 0
    assert [row["step"] for row in rows(tmp_path / "whole", "valid")] == [2, 3, 4, 6, 8, 9]
    for stop in (2, 4, 5, 7):
        run = tmp_path / f"stopped at {stop}"
        assert train(run, *words, stop=stop) == 143
        assert resume(run) == 0
        assert_same_bits(run, tmp_path / "whole")


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


@contextmanager
def killed_at_save(number: int) -> Iterator[None]:
    """End the process in place of a save, the first of which is that of the start."""
    original, left = CheckpointFolder.save, number

    def save(folder: CheckpointFolder, payload: Payload, step: int, *, is_best: bool) -> Path:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return original(folder, payload, step, is_best=is_best)

    CheckpointFolder.save = save
    try:
        yield
    finally:
        CheckpointFolder.save = original


@pytest.mark.parametrize("save", range(2, 8))
def test_a_run_killed_between_a_validation_and_its_checkpoint_resumes_to_the_same_bits(
    validated: Path, tmp_path: Path, save: int
) -> None:
    with killed_at_save(save), pytest.raises(Killed):
        train(tmp_path / "run", *EVERY_4)
    assert resume(tmp_path / "run") == 0
    assert_same_bits(tmp_path / "run", validated)
    assert manifest(tmp_path / "run") == manifest(validated)


def test_how_often_it_is_validated_cannot_change_on_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run, *EVERY_4, stop=13) == 143
    assert resume(run, "trainer.validate_every_steps=5") == 2
    assert resume(run) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trainer.validate_every_steps=12",), "trainer.validate_every_steps=12 has no effect: the run has 18 steps"),
        (("trainer.validate_every_steps=18",), "trainer.validate_every_steps=18 has no effect: the run has 18 steps"),
        ((*EVERY_4, "early_stopping.patience=6"), "early_stopping.patience=6 has no effect: .* validated 6 times"),
        ((*EVERY_4, "scheduler=plateau", "scheduler.patience=4"), "scheduler.patience=4 .* is validated 6 times"),
        ((*EVERY_4, "trainer.max_steps=4"), "trainer.validate_every_steps=4 has no effect with trainer.max_steps=4"),
        (
            (*EVERY_4, "data.val_fraction=0", "early_stopping=none"),
            "trainer.validate_every_steps=4 has no effect with data.val_fraction=0",
        ),
        (
            ("trainer.validate_every_steps=0",),
            "trainer.validate_every_steps is 0; allowed: a whole number from 1 up or null",
        ),
    ],
)
def test_where_it_cannot_act_it_is_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    small = ("model=mlp", "data.limit=200", "data.val_fraction=0.2", "data.batch_size=30", "trainer.epochs=3")
    done = run_here([*small, "trainer.progress=false", "export=none", "hydra.run.dir=run", *words], tmp_path)
    assert done.code == 2
    assert re.search(says, done.err)


def test_the_smallest_values_that_act_are_taken(tmp_path: Path) -> None:
    """The negative control of the refusals: one less, and each acts."""
    words = (*EVERY_4, "early_stopping.patience=5", "scheduler=plateau", "scheduler.patience=3")
    assert train(tmp_path / "run", *words) == 0
    assert train(tmp_path / "late", "trainer.validate_every_steps=17") == 0
    assert [row["step"] for row in rows(tmp_path / "late", "valid")] == [6, 12, 17, 18]
