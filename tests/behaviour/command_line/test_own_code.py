"""What a user's own classes raise while a run uses them: a line that names the section, the file and the line.

Negative control: the same classes, in a good mood, train; and a mistake of ours is 70, with its traceback.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import nnrun.cli
from support.command_line import Outcome, Row, run_here, run_rows

MODULE = """\
import torch
from torch import nn
from nnrun.api import Callback, Dataset, Problem, Split
from nnrun.components.problems.classification import Classification

def fail(mood, name):
    if mood == name:
        {}["no such key"]

class Net(nn.Module):
    def __init__(self, mood, width=784):
        super().__init__()
        self.mood, self.linear = mood, nn.Linear(width, 10)
    def forward(self, inputs):
        fail(self.mood, "forward" if self.training else "evaluation")
        outputs = self.linear(inputs.flatten(1))
        return (outputs, 1) if self.mood == "tuple" else outputs

class Loss(nn.Module):
    def forward(self, outputs, targets):
        fail("loss", "loss")
        return outputs[:, 0]

class Schedule(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optimizer):
        super().__init__(optimizer, lambda epoch: 1.0)
    def step(self):
        super().step()
        fail("step", "step" if self.last_epoch else "")

class Scale:
    def __init__(self, mood):
        self.mood = mood
    def __call__(self, raw):
        fail(self.mood, "preprocessing")
        return raw / 255
    def to_plain(self):
        return {"_target_": "own.Scale", "mood": self.mood}

class Data:
    def __init__(self, mood):
        self.mood = mood
    def load(self):
        fail(self.mood, "load")
        split = Split(torch.zeros(40, 1, 28, 28, dtype=torch.uint8), torch.arange(40) % 10)
        return Dataset(split, split, tuple("0123456789"), Scale(self.mood))

class Judge(Classification):
    def __init__(self, targets, mood):
        super().__init__(targets)
        self.mood = mood
    def fit_targets(self, targets):
        fail(self.mood, "fit_targets")
        super().fit_targets(targets)
    def learned(self, targets):
        fail(self.mood, "learned")
        return super().learned(targets)
    def report(self, sums):
        fail(self.mood, "report")
        return super().report(sums)

class Bare(Problem):
    kind, headline = "classes", "accuracy"

class Half(Classification):
    def __init__(self, targets):
        self.targets = targets

class Renamed(Classification):
    headline = "f1"

class Watch(Callback):
    def __init__(self, mood):
        self.mood = mood
    def on_step_end(self, state):
        fail(self.mood, "step")
        if self.mood == "leaves":
            raise SystemExit(0)
    def state_dict(self):
        fail(self.mood, "saves")
        return {}

class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.LazyLinear(10))
"""
FILES = {
    "own.py": MODULE,
    "conf/model/net.yaml": "_target_: own.Net\nmood: good\nwidth: 784\n",
    "conf/model/lazy.yaml": "_target_: own.Lazy\n",
    "conf/problem/own.yaml": "# Own.\n_target_: own.Judge\nmood: good\n",
    "conf/problem/bare.yaml": "# Bare.\n_target_: own.Bare\n",
    "conf/problem/half.yaml": "# Half.\n_target_: own.Half\n",
    "conf/problem/renamed.yaml": "# Renamed.\n_target_: own.Renamed\n",
    "conf/loss/own.yaml": "_target_: own.Loss\n",
    "conf/scheduler/own.yaml": "_target_: own.Schedule\n",
    "conf/data/own.yaml": "defaults: [_base]\nname: own\ndataset:\n  _target_: own.Data\n  mood: good\n",
    "conf/callback/own.yaml": "# @package callback.own\n_target_: own.Watch\nmood: good\n",
}
SHORT = ("trainer=debug", "export=none", "trainer.progress=false", "data.batch_size=8")
OWN = (*SHORT, "model=net", "data=own")
KEY = "KeyError: 'no such key' ("

ROWS: dict[str, Row] = {
    "forward": Row([*OWN, "model.mood=forward"], 2, ["model fails with " + KEY, "own.py, line 8)"]),
    "evaluation": Row([*OWN, "model.mood=evaluation"], 2, ["model fails with " + KEY]),
    "width": Row([*OWN, "model.width=100"], 2, ["model fails with RuntimeError: ", "(8x784 and 100x10)", "line 16)"]),
    "tuple": Row([*OWN, "model.mood=tuple"], 2, ["model returns a tuple for a batch", "allowed: a score for each"]),
    "lazy": Row([*SHORT, "data=own", "model=lazy"], 2, ["the shape of 1.weight, 1.bias is unknown until", "in_shape}"]),
    "loss": Row([*OWN, "loss=own"], 2, ["loss fails with " + KEY]),
    "schedule": Row([*OWN, "scheduler=own"], 2, ["scheduler fails with " + KEY]),
    "load": Row([*OWN, "data.dataset.mood=load"], 3, ["data=own cannot be loaded: " + KEY]),
    "preprocessing": Row([*OWN, "data.dataset.mood=preprocessing"], 2, ["the preprocessing of data fails with " + KEY]),
    "callback": Row([*OWN, "callback=own", "callback.own.mood=step"], 2, ["callback.own fails with " + KEY]),
    "callback leaves": Row(
        [*OWN, "callback=own", "callback.own.mood=leaves"], 2, ["callback.own fails with SystemExit: 0 ("]
    ),
    "callback saves": Row([*OWN, "callback=own", "callback.own.mood=saves"], 2, ["callback.own fails with " + KEY]),
    **{
        f"problem {mood}": Row([*OWN, "problem=own", f"problem.mood={mood}"], 2, ["your own code fails with " + KEY])
        for mood in ("fit_targets", "learned", "report")
    },
    "problem without methods": Row(
        [*OWN, "problem=bare"],
        2,
        ["problem._target_=own.Bare is not allowed: it lacks agreement, answers, columns, compare, final_layer"],
    ),
    "problem without metrics": Row(
        [*OWN, "problem=half"], 2, ["problem: own.Half lacks train_metric, eval_metric, which every Problem must set"]
    ),
    "problem whose score is another metric's": Row(
        [*OWN, "problem=renamed"],
        2,
        [
            "problem: the main metric of own.Renamed is f1, but its score() is that of Classification, which computes "
            "accuracy"
        ],
    ),
    "optimizer that needs sparse gradients": Row(
        [*SHORT, "model=mlp", "optimizer=sparse"], 2, ["optimizer fails with RuntimeError: SparseAdam does not support"]
    ),
    "optimizer with a closure": Row(
        ["optimizer._target_=torch.optim.LBFGS"], 2, ["LBFGS is not allowed: its step evaluates the loss several times"]
    ),
}
GOOD = Row([*OWN, "callback=own", "problem=own"], 0, [])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    files = FILES | {"conf/optimizer/sparse.yaml": "_target_: torch.optim.SparseAdam\nlr: 0.001\n"}
    rows = {name: Row(row.words, row.code, row.says, files) for name, row in (ROWS | {"good": GOOD}).items()}
    return run_rows(rows, tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("name", ROWS)
def test_an_exception_in_user_code_is_reported_with_file_and_line(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    assert outcome.code == ROWS[name].code, outcome.err
    assert all(text in outcome.err for text in ROWS[name].says), outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_the_same_classes_train_when_they_raise_nothing(outcomes: dict[str, Outcome]) -> None:
    assert (outcomes["good"].code, outcomes["good"].err) == (0, "")


def test_a_bug_of_nnrun_is_exit_code_70_with_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnrun.cli, "compose", lambda *_: {}["ours"])
    outcome = run_here(["seed=1"], tmp_path)
    assert outcome.code == 70
    assert "Traceback (most recent call last)" in outcome.err
    assert "nnrun: this is a bug in nnrun: KeyError: 'ours'" in outcome.err


def test_what_torch_says_is_told_without_its_page_of_frames(tmp_path: Path) -> None:
    outcome = run_here(["model=vgg", "model.width=1e300", "export=none"], tmp_path)
    assert outcome.code == 2
    assert "nnrun.components.models.vgg.VGG cannot be built: TypeError: empty()" in outcome.err
    assert len(outcome.err.splitlines()) == 1
