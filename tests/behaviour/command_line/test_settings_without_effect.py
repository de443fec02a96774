"""Settings that were typed and cannot act are refused; defaults that cannot act are not spoken of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from support.command_line import run_here
from support.pictures import make_folder

# 163 training samples, 5 steps an epoch.
SMALL = (
    "model=mlp",
    "export=none",
    "data.limit=200",
    "data.batch_size=33",
    "data.val_fraction=0.2",
    "trainer.progress=false",
)

# What cannot act, what is said of it, and the same with one value changed, which acts.
IDLE = [
    (["early_stopping.patience=4", "trainer.epochs=4"], "early_stopping.patience=4 has no effect", "trainer.epochs=5"),
    (["scheduler=step", "trainer.epochs=5"], "scheduler.step_size=5 has no effect", "trainer.epochs=6"),
    (["scheduler=step", "scheduler.step_size=40"], "scheduler.step_size=40 has no effect", "scheduler.step_size=39"),
    (["scheduler=plateau", "trainer.epochs=4"], "scheduler.patience=2 has no effect", "trainer.epochs=5"),
    (["scheduler=exponential", "trainer.epochs=1"], "scheduler=exponential has no effect", "trainer.epochs=2"),
    (["scheduler=exponential", "scheduler.gamma=1"], "scheduler.gamma=1 has no effect", "scheduler.gamma=0.9"),
    (
        ["scheduler=cosine", "scheduler.min_lr=1e-3"],
        "scheduler.min_lr=0.001 equals the learning",
        "scheduler.min_lr=1e-4",
    ),
    (
        ["scheduler=onecycle", "optimizer.lr=1e-2", "scheduler.max_lr=0.1"],
        "optimizer.lr has no effect with scheduler.max_lr=0.1",
        "scheduler.max_lr=1e-2",
    ),
    (
        ["scheduler=onecycle", "scheduler.max_momentum=0.9"],
        "have no effect with scheduler.cycle_momentum=false",
        "scheduler.cycle_momentum=true",
    ),
    (["trainer.max_nonfinite=3"], "only with trainer.nonfinite=skip", "trainer.nonfinite=skip"),
    (
        ["trainer.max_steps=5", "trainer.checkpoint_every_steps=6"],
        "trainer.checkpoint_every_steps=6 has no effect",
        "trainer.checkpoint_every_steps=5",
    ),
    (["data.root=photos"], "data.root=photos has no effect with data=digits", "data=folder"),
]


@pytest.mark.parametrize(
    ("words", "says", "acting"), IDLE, ids=lambda value: value[-1] if isinstance(value, list) else ""
)
def test_a_typed_setting_that_cannot_act_is_refused(words: list[str], says: str, acting: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        compose(words)
    compose([*words, acting])  # the negative control


def test_a_default_that_cannot_act_is_no_mistake() -> None:
    """The patience is 5, and the run has one epoch."""
    assert compose(["trainer.epochs=1"]).config.early_stopping.patience == 5


def test_in_a_trial_the_real_run_s_settings_are_only_said_to_be_idle() -> None:
    composed = compose(["trainer=debug", "scheduler=step", "early_stopping.patience=3"])
    assert [note.split(" ", 1)[0] for note in composed.trial_notes] == [
        "early_stopping.patience=3",
        "scheduler.step_size=5",
    ]
    assert compose(["trainer=debug"]).trial_notes == ()


def test_a_share_to_hold_out_is_refused_where_the_data_has_a_validation_part_and_a_default_one_is_not_spoken_of(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path / "pictures", {"train": 20, "valid": 20, "test": 20})
    words = ["data=folder", "data.root=pictures", "model=mlp", "trainer=debug", "export=none", "data.batch_size=4"]
    done = run_here([*words, "data.val_fraction=0.2", "hydra.run.dir=a"], tmp_path)
    assert done.code == 2
    assert "data.val_fraction=0.2 has no effect: the data has its own validation split" in done.err
    plain = run_here([*words, "hydra.run.dir=b"], tmp_path)
    assert (plain.code, "val_fraction" in plain.out) == (0, False)


@pytest.mark.parametrize(
    ("word", "acting"),
    [
        ("trainer.max_steps=11", "trainer.max_steps=10"),
        ("trainer.checkpoint_every_steps=11", "trainer.checkpoint_every_steps=10"),
        ("scheduler.warmup_fraction=0.01", "scheduler.warmup_fraction=0.2"),
        ("scheduler.total_steps=200", "scheduler.total_steps=10"),
    ],
)
def test_what_the_number_of_steps_makes_idle_is_refused_once_the_data_is_known(
    tmp_path: Path, word: str, acting: str
) -> None:
    words = [*SMALL, "trainer.epochs=2", "scheduler=warmup_cosine", "hydra.run.dir=run"]
    done = run_here([*words, word], tmp_path)
    assert done.code == 2
    assert f"{word} has no effect: the run has 10 steps, 5 per epoch" in done.err
    assert run_here([*words, acting, "hydra.run.dir=other"], tmp_path).code == 0
    assert json.loads((tmp_path / "other" / "status.json").read_text())["state"] == "finished"
