"""A step that is run again: it is the same step, and it is said where NaN begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from support.small_runs import train

OWN = '''
import torch
from torch import nn

class Net(nn.Module):
    """The weight `scale` falls below zero after a few steps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(784, 16), nn.Linear(16, 10)
        self.scale = nn.Parameter(torch.tensor(0.005))

    def forward(self, x):
        x = x.flatten(1)
        if self.kind == "between":
            return self.last(self.first(x) * self.scale.sqrt())
        if self.kind == "end":
            return self.last(self.first(x)).log()
        if self.kind == "backward":
            return self.last((self.first(x) * 0).abs().sqrt())
        return self.last(self.first(x))

class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()

class InALayer(Net):
    def __init__(self) -> None:
        super().__init__("plain")
        self.root = Root()

    def forward(self, x):
        return self.last(self.root(self.first(x.flatten(1))))

class BadUpdate(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        self.param_groups[0]["params"][0].data.fill_(float("inf"))
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with networks of one's own, some of which break."""
    (tmp_path / "ownnets.py").write_text(OWN)
    for name, text in {
        "net": "_target_: ownnets.Net\nkind: plain\n",
        "layer": "_target_: ownnets.InALayer\n",
    }.items():
        path = tmp_path / "conf" / "model" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "conf" / "optimizer").mkdir()
    (tmp_path / "conf" / "optimizer" / "bad.yaml").write_text("_target_: ownnets.BadUpdate\nlr: 0.01\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "ownnets", raising=False)
    return tmp_path


def replayed(run: Path, *words: str) -> dict[str, Any]:
    out = run.parent / "replayed"
    assert main(["task=replay", f"ckpt={run}", "trust=[ownnets]", *words, f"hydra.run.dir={out}"]) == 0
    return json.loads((out / "replay.json").read_text())


@pytest.mark.parametrize(
    "case",
    [
        (["model=net", "model.kind=between"], "forward", "last", "between layers first (Linear) and last (Linear)"),
        (["model=layer"], "forward", "root", "in the forward pass of layer root (Root): its input is finite"),
        (["model=net", "model.kind=end"], "forward", None, "in the forward pass, after the last layer"),
        # The loss is NaN only in the step after that.
        (["model=net", "model.kind=backward"], "backward", "last", "the derivative of Abs is NaN (ownnets.py, line"),
        (["optimizer=bad"], "update", "hidden.0.linear", "in the optimizer's update of hidden.0.linear.weight"),
    ],
)
def test_it_is_said_where_nan_begins(
    case: tuple[list[str], str, str | None, str], own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, where, layer, said = case
    run = own / "run"
    assert train(run, *words, "optimizer.lr=0.01") == 6
    assert f"nnrun task=replay ckpt={run}" in capsys.readouterr().err
    found = replayed(run)
    assert found["where"] == where
    assert found["loss"] == (found["recorded_loss"] or found["loss"])
    assert layer is None or found["layer"] == layer
    assert said in capsys.readouterr().out.replace("\n", " ").replace(f"{own}/", "")
    assert len(found["indices"]) == len(set(found["indices"])) > 0


def test_a_step_that_is_named_is_the_one_examined(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(own / "run", "optimizer=bad") == 6
    found = replayed(own / "run", "replay.step=2")
    assert (found["where"], found["step"], found["loss"]) == ("weights", 2, "nan")
    assert "an earlier step made it: replay.step=1" in capsys.readouterr().out


def test_a_replayed_step_is_the_step_that_was_trained(tmp_path: Path) -> None:
    """With dropout, augmentation, accumulation and bf16; negative control: the step beside it has another loss."""
    run = tmp_path / "run"
    words = ("trainer.accumulate=2", "augment=digits", "trainer.precision=bf16", "trainer.log_every_steps=1")
    assert train(run, *words) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["split"] == "train"}
    for step in (1, 5, 8):
        out = tmp_path / f"step {step}"
        words = (f"replay.step={step}", f"hydra.run.dir={out}")
        assert main(["task=replay", f"ckpt={run}", *words]) == 0
        found = json.loads((out / "replay.json").read_text())
        assert found["where"] is None and found["begins"] is None
        assert found["loss"] == pytest.approx(losses[step], rel=1e-6) != pytest.approx(losses[step - 1 or 2], rel=1e-3)
        assert found["loss_fp32"] == pytest.approx(losses[step], rel=0.05)
        assert len(found["losses"]) == len(found["indices"]) == 60 - 17 * (step % 3 == 0)


@pytest.mark.parametrize(
    "case",
    [
        ([], 2, "recorded no NaN and no spike of the loss; name a step with replay.step="),
        (["replay.step=19"], 2, "replay.step=19 was never made"),
        (["replay.step=0"], 2, "replay.step is 0; allowed"),
        (["replay.step=3", "data.limit=150"], 3, "the data is not the same"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    case: tuple[list[str], int, str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, code, said = case
    assert main(["task=replay", f"ckpt={whole}", *words, f"hydra.run.dir={tmp_path / 'out'}"]) == code
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_odd_steps_are_kept_over_a_resume(own: Path) -> None:
    """Those of before the checkpoint stay; a run without any has no file."""
    from nnrun.tasks.train.odd_steps import read_odd_steps

    run = own / "run"
    words = (
        "trainer.nonfinite=skip",
        "trainer.max_nonfinite=3",
        "model=net",
        "model.kind=between",
        "optimizer.lr=0.03",
    )
    assert train(run, *words) == 6
    steps = [row["step"] for row in read_odd_steps(run)]
    assert steps == list(range(steps[0], steps[0] + 3))
    assert main([f"resume={run}", "trust=[ownnets]"]) == 6
    assert [row["step"] for row in read_odd_steps(run)] == steps
    assert train(own / "good") == 0
    assert not (own / "good" / "odd_steps.json").exists()
