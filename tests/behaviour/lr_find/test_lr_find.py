"""The learning-rate range test: what it suggests, and that it leaves everything else as it was."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import nnrun.tasks.lr_find.run
from nnrun.base.errors import ResourceError
from nnrun.cli import main
from nnrun.tasks.lr_find.suggest import Smoothed, suggest, valley
from support.small_runs import WORDS, assert_same_bits, train, tree

SMALL = [word for word in WORDS if not word.startswith(("export", "trainer.epochs", "trainer.log", "data.eval"))]


def find(out: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Run the test in a directory, and return what it wrote."""
    with contextlib.chdir(out.parent):
        assert main(["task=lr_find", *SMALL, *words, f"hydra.run.dir={out}"]) == code
    return json.loads((out / "lr_find.json").read_text()) if code == 0 else {}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training."""
    run = tmp_path_factory.mktemp("lr_find") / "run"
    assert train(run, "trainer.epochs=1") == 0
    return run


def test_a_training_after_it_has_the_same_bits_and_its_command_trains(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same process, with the run's own words. Negative control: another seed has other bits."""
    before = torch.get_rng_state(), random.getstate()
    found = find(tmp_path / "found", "optimizer=sgd", "trainer.accumulate=2", "lr_find.steps=60", "lr_find.min=1e-4")
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert not torch.equal(before[0], torch.manual_seed(5).get_state())
    assert train(tmp_path / "again", "trainer.epochs=1") == 0
    assert_same_bits(run, tmp_path / "again")
    assert found["diverged"] or len(found["lr"]) == 60
    assert found["lr"][0] == 1e-4 and found["lr"][1] / found["lr"][0] == pytest.approx(1e5 ** (1 / 59))
    # Learning rates for SGD at which this network learns: it does not at 1e-4, and diverges at 10.
    assert 0.003 < found["recommended_lr"] < 0.5
    words = shlex.split(found["command"])
    assert words[0] == "nnrun" and words[-1] == f"optimizer.lr={found['recommended_lr']:g}"
    assert words[1:-1] == [*SMALL, "optimizer=sgd", "trainer.accumulate=2"]
    assert f"train with it: {found['command']}" in capsys.readouterr().out
    html = (tmp_path / "found" / "lr_find.html").read_text()
    assert "Loss against learning rate" in html and '"type":"log"' in html and found["command"] in html
    assert not (tmp_path / "found" / "checkpoints").exists()


def test_of_a_run_it_repeats_the_start_and_leaves_it_as_it_was(run: Path, tmp_path: Path) -> None:
    """The config is the run's, and the losses are those of a new training with it."""
    before = tree(run)
    with contextlib.chdir(tmp_path):
        out = tmp_path / "found"
        assert main(["task=lr_find", f"ckpt={run}", "lr_find.steps=20", f"hydra.run.dir={out}"]) == 0
    assert tree(run) == before
    found = json.loads((out / "lr_find.json").read_text())
    assert found["loss"] == find(tmp_path / "anew", "lr_find.steps=20")["loss"]
    assert found["command"] is None or found["command"].startswith(f"nnrun repeat={run} optimizer.lr=")


def test_factors_of_parameter_groups_and_other_rates_are_kept(tmp_path: Path) -> None:
    """Muon has two learning rates, and the head one of its own."""
    seen = []
    original = torch.optim.Optimizer.zero_grad

    def spied(self: torch.optim.Optimizer, set_to_none: bool = True) -> None:
        seen.append([group["lr"] for group in self.param_groups])
        original(self, set_to_none)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Optimizer, "zero_grad", spied)
        words = ("optimizer=adamw", "transfer.head_lr_factor=10", "trainer.precision=bf16", "lr_find.steps=20")
        found = find(tmp_path / "found", *words)
    rates = [row for row in seen if len(row) > 1]
    assert {round(max(row) / min(row), 6) for row in rates} == {10}
    assert [min(row) for row in rates] == pytest.approx(found["lr"][: len(rates)])
    found = find(tmp_path / "muon", "optimizer=muon", "lr_find.steps=40", "lr_find.min=1e-4")
    last = dict(word.split("=") for word in shlex.split(found["command"])[-2:])
    assert float(last["optimizer.lr"]) / float(last["optimizer.adamw_lr"]) == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr_find.min=1", "lr_find.max=2"], "lr_find.max must be at least ten times lr_find.min"),
        (["lr_find.steps=5"], "lr_find.steps is 5; allowed"),
        (["resume=run"], "task=lr_find and resume exclude each other"),
    ],
)
def test_what_cannot_be_tried_is_said(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find(tmp_path / "found", *words, code=2)
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_the_suggestion_is_printed_before_a_file_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ResourceError("cannot write lr_find.json: the disk is full")

    monkeypatch.setattr(nnrun.tasks.lr_find.run, "write_json", fail)
    find(tmp_path / "full", "lr_find.steps=40", code=5)
    told = capsys.readouterr()
    assert "train with it: nnrun " in told.out
    assert "the disk is full" in told.err


def test_suggestions_of_a_curve() -> None:
    """A plateau, a descent from 1e-4 to 1e-2, a rise; negative controls: curves that only rise, or are flat."""
    rates = [10 ** (-6 + index / 10) for index in range(60)]
    curve = [2.0] * 20 + [2.0 - index / 20 for index in range(1, 21)] + [1.0 + index for index in range(20)]
    found = suggest(rates, curve, 60, diverged=True)
    assert found.recommended == "steepest" and found.rates["valley"] == pytest.approx(1e-3, rel=0.3)
    assert 0.99e-4 < found.rates["steepest"] < 1e-2
    assert suggest(rates, [1.0 + index for index in range(60)], 60, diverged=True).recommended is None
    assert suggest(rates, [1.0] * 60, 60, diverged=False).rate is None
    assert valley([5, 9, 4, 3, 8, 2, 9]) == 2
    average = Smoothed(100)
    assert average.add(3.0) == pytest.approx(3) and average.add(1.0) == pytest.approx((0.85 * 3 + 1) / 1.85)
