"""trainer.max_minutes becomes a number of steps: measured once, saved, kept by a resumed and a repeated run."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from nnrun.tasks.train import budget, first_steps
from nnrun.tasks.train.budget import Speed
from support.small_runs import POLLS, STEPS, WORDS, assert_same_bits, resume, train

SPEED = Speed(step=0.5, closing=0.6, saving=0.1, last=0.6, start=1.0, end=2.0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of that speed, in a command that began four seconds ago."""
    monkeypatch.setattr(budget, "measured", lambda *_: (SPEED, STEPS))
    monkeypatch.setattr(budget, "seconds_since_begin", lambda: 4.0)


def length_of(run: Path) -> tuple[str, ...]:
    """The settings of a run's length, as its config.yaml has them."""
    found = re.findall(r"^  (?:epochs|max_steps|max_minutes): (\w+)$", (run / "config.yaml").read_text(), re.MULTILINE)
    return tuple(found)


def test_the_first_steps_are_timed_and_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine that is ten times as slow. Negative control: the number that was really measured is another one."""
    found: list[Speed] = []
    counts, original = [], budget.steps_within

    def counting(seconds: float, speed: Speed, *given: Any) -> int:
        found.append(speed)
        counts.append(original(60.0, speed, *given))
        return 8

    monkeypatch.setattr(budget, "steps_within", counting)
    monkeypatch.setattr(first_steps, "slowness", lambda: 10.0)
    words = ("scheduler=cosine", "trainer.watch=gradients")
    assert train(tmp_path / "timed", "trainer.max_minutes=0.1", *words) == 0
    assert re.search(
        r"trainer.max_minutes=0.1 allows 8 steps \(1.3 epochs\) at \S+ ms a step: trainer.max_steps=8",
        capsys.readouterr().out,
    )
    # Ten times 0.4 s, and the evaluation.
    assert 4.0 < found[0].end < 10.0
    assert counts[0] > 8 and length_of(tmp_path / "timed") == ("3", "8", "null")
    assert train(tmp_path / "typed", "trainer.max_steps=8", *words) == 0
    assert_same_bits(tmp_path / "timed", tmp_path / "typed")
    spent = {run: json.loads((tmp_path / run / "summary.json").read_text())["time"] for run in ("timed", "typed")}
    assert list(spent["timed"])[:3] == ["opening", "measuring", "training"]
    assert spent["timed"]["measuring"] > 0.1 and "measuring" not in spent["typed"]
    assert {path.name for path in (tmp_path / "timed").iterdir()} == {
        path.name for path in (tmp_path / "typed").iterdir()
    }


@pytest.mark.usefixtures("measured")
def test_a_resumed_and_a_repeated_run_keep_the_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """15 s less 3 %, the 4 s that passed, 3.6 s for start and end, 0.6 s for the first epoch's: 12 steps of 0.5 s."""
    words = ("trainer.max_minutes=0.25", "scheduler=onecycle")
    assert train(tmp_path / "stopped", *words, stop=POLLS + 2) == 143
    assert "allows 12 steps (2.0 epochs) at 500 ms a step: trainer.max_steps=12\n" in capsys.readouterr().out
    assert resume(tmp_path / "stopped", "trainer.max_minutes=0.25") == 2
    capsys.readouterr()
    assert resume(tmp_path / "stopped") == 0
    with contextlib.chdir(tmp_path):
        assert main(["repeat=stopped", "hydra.run.dir=repeated"]) == 0
    assert train(tmp_path / "typed", "trainer.max_steps=12", "scheduler=onecycle") == 0
    for run in ("stopped", "repeated"):
        assert length_of(tmp_path / run) == ("3", "12", "null")
        assert_same_bits(tmp_path / run, tmp_path / "typed")
    assert "allows" not in capsys.readouterr().out


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("words", "length", "said"),
    [
        (["trainer.max_minutes=1", "trainer.epochs=3"], ("3", "null", "null"), "trainer.epochs=3 is the limit"),
        (["trainer.max_minutes=1"], ("40", "84", "null"), "trainer.max_steps=84\n"),
        (["trainer.max_minutes=5"], ("79", "473", "null"), "trainer.max_steps=473 trainer.epochs=79\n"),
        (["trainer.max_minutes=1", "trainer.validate_every_steps=2"], ("40", "56", "null"), "trainer.max_steps=56\n"),
        (["trainer.max_minutes=1", "trainer.checkpoint_every_steps=1"], ("40", "72", "null"), "trainer.max_steps=72\n"),
    ],
)
def test_epochs_limit_it_only_if_they_are_given(
    words: list[str], length: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*(word for word in WORDS if not word.startswith("trainer.epochs")), *words]
    with contextlib.chdir(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnrun.tasks.train.ready._tell_of_data", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*words, "hydra.run.dir=run"]) == 130
    assert length_of(tmp_path / "run") == length
    assert said in capsys.readouterr().out


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["trainer.max_minutes=0.1"],
            "trainer.max_minutes=0.1 is not enough for one step: 4.0 s have passed, a step takes 500 ms, and the start "
            "and the end of the training, with its evaluation and exports, about 3.6 s; give 0.14 or more",
        ),
        (
            ["trainer.max_minutes=1", "trainer.max_steps=5"],
            "trainer.max_minutes=1 and trainer.max_steps=5 exclude each other",
        ),
        (["trainer.max_minutes=1", "trainer.epochs=0"], "trainer.max_minutes=1 has no effect with trainer.epochs=0"),
        (["trainer.max_minutes=0"], "trainer.max_minutes is 0; allowed: a finite number above 0 or null"),
    ],
)
def test_a_budget_without_a_step_is_an_error(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_task_that_does_not_train_says_that_it_has_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(tmp_path):
        assert main(["task=inspect", "model=mlp", "data.limit=200", "trainer.max_minutes=1", "hydra.run.dir=out"]) == 0
    assert "trainer.max_minutes has no effect with task=inspect" in " ".join(capsys.readouterr().out.split())
