"""A run with a bug of each kind says which; the same run without the bug says nothing of the sort."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.small_runs import summary

from nnrun.cli import main

# The networks with a bug, beside the config; what `bad` names is wrong.
NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_shape, num_classes, bad=None):
        super().__init__()
        self.first, self.relu = nn.Linear(16, 32), nn.ReLU()
        self.second, self.head = nn.Linear(32, 32), nn.Linear(32, num_classes)
        self.act, self.spare = nn.Tanh(), nn.Linear(2, 2) if bad == "unused" else nn.Identity()
        with torch.no_grad():
            if bad == "dead":
                self.first.bias[:30] = -100
            if bad == "saturated":
                self.second.weight.mul_(1000)
        if bad == "frozen":
            self.first.requires_grad_(False)
        if bad == "cut":
            self.head.register_full_backward_hook(lambda *_: None)
        self.bad = bad

    def forward(self, x):
        hidden = self.relu(self.first(x.flatten(1)))
        if self.bad == "cut":
            hidden = hidden * 0 + 1
        return self.head(self.act(self.second(hidden)))
"""
WORDS = ("data=arrays", "+model=net", "trainer.epochs=4", "export=none", "trainer.progress=false", "data.batch_size=16")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four classes of points, with the network above, and with the same data in a bad state."""
    folder = tmp_path_factory.mktemp("bugs")
    (folder / "nets.py").write_text(NETS)
    (folder / "conf" / "model").mkdir(parents=True)
    net = "_target_: nets.Net\nin_shape: ${data.in_shape}\nnum_classes: ${data.num_classes}\nbad: null\n"
    (folder / "conf" / "model" / "net.yaml").write_text(f"# A network.\n{net}")
    draws = np.random.default_rng(0)
    centers, labels = draws.normal(size=(4, 16)), np.arange(600) % 4
    points = (centers[labels] + draws.normal(size=(600, 16))).astype(np.float32).reshape(600, 4, 4)
    bad = points.copy()
    bad[3, 2] = np.nan
    train, test = slice(None, 400), slice(400, None)
    shuffled = np.concatenate([draws.permutation(labels[train]), labels[test]])
    for name, inputs, targets in (
        ("good", points, labels),
        ("shuffled", points, shuffled),
        ("nan", bad, labels),
        ("large", 40 * points + 1000, labels),
    ):
        np.savez(
            folder / f"{name}.npz",
            x_train=inputs[train],
            y_train=targets[train],
            x_test=inputs[test],
            y_test=targets[test],
        )
    leaks = np.concatenate([points[train], points[:50]])
    np.savez(folder / "leaks.npz", x_train=points[train], y_train=labels[train], x_test=leaks[400:], y_test=labels[:50])
    kept = labels[train] != 3
    np.savez(
        folder / "missing.npz",
        x_train=points[train][kept],
        y_train=labels[train][kept],
        x_test=points[test],
        y_test=labels[test],
    )
    return folder


def run(place: Path, name: str, *words: str, data: str = "good") -> int:
    with contextlib.chdir(place):
        return main([*WORDS, f"data.root={data}.npz", *words, f"hydra.run.dir=runs/{name}"])


def warnings(place: Path, name: str) -> list[str]:
    return summary(place / "runs" / name)["warnings"]


def test_without_a_bug_nothing_is_said(place: Path) -> None:
    """The negative control of all: everything is watched. Nor with few epochs, or another optimizer and schedule."""
    assert run(place, "good", "trainer.watch=all", "trainer.watch_every_steps=2", "trainer.epochs=6") == 0
    assert warnings(place, "good") == []
    assert summary(place / "runs" / "good")["metrics"]["test/accuracy"] > 0.9
    rows = [json.loads(line) for line in (place / "runs" / "good" / "metrics.jsonl").read_text().splitlines()]
    assert all("grad_norm" in row for row in rows if row["split"] == "train")
    assert run(place, "sgd", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=onecycle", "trainer.epochs=5") == 0
    assert warnings(place, "sgd") == []


# A name, its words, its data, and what is said.
BUGS = [
    ("lr too high", ["optimizer.lr=30"], "good", "optimizer.lr=30 is probably too high"),
    ("lr too low", ["optimizer.lr=1e-8"], "good", "optimizer.lr=1e-08 is probably too low"),
    (
        "dead",
        ["model.bad=dead", "trainer.watch=activations", "trainer.watch_every_steps=5"],
        "good",
        "layer relu: 30 of 32 units are dead (always 0). A lower learning rate or batchnorm usually helps",
    ),
    (
        "saturated",
        ["model.bad=saturated", "trainer.watch=[activations]", "trainer.watch_every_steps=5"],
        "good",
        "of its outputs are saturated",
    ),
    (
        "shuffled, by heart",
        ["trainer.epochs=25", "optimizer.lr=0.01", "early_stopping=none", "data.val_fraction=0.3"],
        "shuffled",
        "the network memorizes its samples",
    ),
    (
        "shuffled",
        ["trainer.epochs=5", "optimizer.lr=1e-4"],
        "shuffled",
        "neither training nor validation is better than a trivial guess",
    ),
    (
        "frozen",
        ["model.bad=frozen"],
        "good",
        "frozen, though transfer.freeze does not name them: first.weight, first.bias.",
    ),
    ("unused", ["model.bad=unused"], "good", "no gradient reaches spare.bias, spare.weight"),
    (
        "cut",
        ["model.bad=cut", "trainer.watch=gradients", "trainer.watch_every_steps=5"],
        "good",
        "layer first: its gradient is exactly 0",
    ),
    ("leaks", [], "leaks", "test samples are also in the training split"),
    ("large", ["data.dataset.mean=[0]", "data.dataset.std=[30]"], "large", "not normalized"),
]


@pytest.mark.parametrize("bug", BUGS, ids=[bug[0] for bug in BUGS])
def test_a_bug_is_named(place: Path, capsys: pytest.CaptureFixture[str], bug: tuple[str, list[str], str, str]) -> None:
    name, words, data, said = bug
    assert run(place, name, *words, data=data) == 0
    found = [text for text in warnings(place, name) if said in text]
    assert len(found) == 1, warnings(place, name)
    # Once, on the console.
    assert capsys.readouterr().out.count(f"note: {found[0]}") == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [("nan", "NaN"), ("missing", "sample 3 has the label 3, which is not a class")],
)
def test_data_that_cannot_be_trained_on_ends_the_run(
    place: Path, capsys: pytest.CaptureFixture[str], data: str, said: str
) -> None:
    """A NaN among the samples; a class of the test split that the training split lacks."""
    assert run(place, data, data=data) == 3
    assert said in capsys.readouterr().err
