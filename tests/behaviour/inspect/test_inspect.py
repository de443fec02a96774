"""task=inspect as a user meets it: what it says, writes and returns, and that it trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import OWN_YAML, SHORT, Outcome, Row, run_here, run_rows
from support.small_runs import WORDS, train, tree

pytestmark = pytest.mark.usefixtures("warm_python")

OWN_MODULE = """\
from math import prod
import torch
from torch import nn

class MyNet(nn.Module):
    def __init__(self, in_shape, num_classes, hidden=16, fault="none"):
        super().__init__()
        self.hidden, self.head = nn.Linear(prod(in_shape), hidden), nn.Linear(hidden, num_classes)
        self.fault = fault
        if fault == "dead":
            nn.init.constant_(self.hidden.bias, -1000.0)

    def forward(self, inputs):
        hidden = self.hidden(inputs.flatten(1)).relu()
        if self.fault == "detached":
            hidden = hidden.detach()
        if self.fault == "root":
            hidden = hidden + (hidden * 0).sqrt()
        return self.head(hidden)
"""
OWN = {"conf/model/mynet.yaml": OWN_YAML + "fault: none\n", "mynet.py": OWN_MODULE}
INSPECT = ("task=inspect", "model=mynet", "data.limit=100")

ROWS: dict[str, Row] = {
    "sound": Row([*INSPECT], 0, [], OWN),
    "dead": Row(
        [*INSPECT, "model.fault=dead"],
        4,
        ["the gradient of hidden.weight, hidden.bias, head.weight is exactly zero"],
        OWN,
    ),
    "detached": Row(
        [*INSPECT, "model.fault=detached"],
        4,
        ["no gradient reaches hidden.weight, hidden.bias: the loss", "inspect.json"],
        OWN,
    ),
    "nan": Row([*INSPECT, "model.fault=root"], 4, ["the gradient of hidden.weight, hidden.bias is NaN or"], OWN),
    "learned": Row([*INSPECT, "inspect.overfit=true"], 0, [], OWN),
    "not learned": Row(
        [*INSPECT, "inspect.overfit=true", "inspect.steps=7", "optimizer.lr=1e-9"],
        4,
        ["the network does not overfit one batch in 7 steps (loss 2.", "inspect.steps"],
        OWN,
    ),
    "diverged": Row([*INSPECT, "inspect.overfit=true", "optimizer.lr=1e38"], 4, ["does not overfit one batch in"], OWN),
    # what is refused, and what is said of words that do nothing
    "overfit without the task": Row(
        ["inspect.overfit=true"], 2, ["inspect.overfit has no effect without task=inspect"]
    ),
    "steps without overfit": Row(
        ["task=inspect", "inspect.steps=6"], 2, ["inspect.steps has an effect only with inspect.overfit=true"]
    ),
    "misspelt": Row(["task=inspect", "inspect.dept=3"], 2, ["inspect.dept is not", "did you mean 'inspect.depth'?"]),
    "steps 0": Row(
        ["task=inspect", "inspect.overfit=true", "inspect.steps=0"],
        2,
        ["inspect.steps is 0; allowed: a whole number from 5 up"],
    ),
    "batch larger than the data": Row(["task=inspect", "data.limit=20", "data.batch_size=64"], 3, ["larger than the"]),
    "no data": Row(["task=inspect", "data=mnist", "data.root=nope", "data.download=false"], 3, ["nope"]),
    "idle words": Row(
        [
            *("task=inspect", "model=mlp", "trainer.epochs=3", "scheduler=cosine", "transfer.freeze=backbone"),
            *("transfer.cache=true", "transfer.unfreeze_epoch=2"),
        ],
        0,
        [],
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return run_rows(ROWS, tmp_path_factory.mktemp("inspect"))


def findings(outcome: Outcome) -> dict:
    """What inspect.json holds, of the one directory that a command left."""
    (path,) = Path(outcome.folder).glob("outputs/*/*/inspect.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", ROWS)
def test_an_inspection_ends_with_its_exit_code(name: str, outcomes: dict[str, Outcome]) -> None:
    row, outcome = ROWS[name], outcomes[name]
    assert outcome.code == row.code, outcome.err
    assert all(text in outcome.err for text in row.says), outcome.err
    assert bool(outcome.err) == (row.code != 0), outcome.err
    assert not any("latest" in path or "checkpoints" in path for path in outcome.created), "it is no training"


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("sound", None, []),
        ("dead", "zero", ["hidden.weight", "hidden.bias", "head.weight"]),
        ("detached", "missing", ["hidden.weight", "hidden.bias"]),
        ("nan", "not_finite", ["hidden.weight", "hidden.bias"]),
    ],
)
def test_a_fault_is_in_the_files_too(name: str, kind: str | None, names: list[str], outcomes: dict) -> None:
    """`sound` is the negative control: there, no name is listed."""
    gradients = findings(outcomes[name])["gradients"]
    assert gradients.pop("ok") is (kind is None)
    gradients.pop("loss")
    assert {key: value for key, value in gradients.items() if value} == ({kind: names} if kind else {})
    (folder,) = Path(outcomes[name].folder).glob("outputs/*/*")
    status, summary = (json.loads((folder / f"{file}.json").read_text()) for file in ("status", "summary"))
    state = "finished" if kind is None else "failed"
    assert (status["task"], status["state"], status["exit_code"]) == ("inspect", state, 0 if kind is None else 4)
    assert (summary["task"], summary["state"]) == ("inspect", state)
    assert summary["metrics"]["model/parameters"] == 784 * 16 + 16 + 16 * 10 + 10


def test_overfit_says_how_many_updates_it_took(outcomes: dict[str, Outcome]) -> None:
    learned, not_learned = (findings(outcomes[name])["overfit"] for name in ("learned", "not learned"))
    assert learned["reached"] is True
    assert 3 < learned["steps"] < 200
    assert learned["last_loss"] < learned["first_loss"] / 4
    assert (not_learned["reached"], not_learned["steps"]) == (False, 7)
    assert f"overfits one batch of 32 in {learned['steps']} steps" in outcomes["learned"].out
    assert findings(outcomes["diverged"])["overfit"]["last_loss"] is None
    assert findings(outcomes["sound"])["overfit"] is None


def test_settings_that_only_a_run_reads_are_named(outcomes: dict[str, Outcome]) -> None:
    """The negative control is what is frozen: that is read, and not among them."""
    said = outcomes["idle words"].out
    for key in ("trainer.epochs", "scheduler", "transfer.cache", "transfer.unfreeze_epoch"):
        assert f"note: {key} has no effect with task=inspect" in said
    assert "transfer.freeze has no effect" not in said


def test_the_step_is_the_first_one_of_the_run(tmp_path: Path) -> None:
    """The same batch, weights and draws of dropout: the same loss. Negative control: another seed has another."""
    run = tmp_path / "run"
    assert train(run, "trainer.max_steps=1", "trainer.log_every_steps=1") == 0
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    words = [word for word in WORDS if not word.startswith(("trainer", "export", "data.eval"))]

    def loss_of(*more: str) -> float:
        outcome = run_here(["task=inspect", *words, *more], tmp_path)
        assert outcome.code == 0, outcome.err
        folder = tmp_path / more[0].partition("=")[2]
        return json.loads((folder / "inspect.json").read_text())["gradients"]["loss"]

    assert loss_of("hydra.run.dir=same") == pytest.approx(row["loss"], rel=1e-6)
    assert loss_of("hydra.run.dir=other", "seed=1") != pytest.approx(row["loss"], rel=1e-3)


def test_a_checkpoint_is_inspected_and_left_as_it_is(whole: Path, tmp_path: Path) -> None:
    """A trained network has a smaller loss than a new one. The directory that it lies in stays as it was."""
    before = tree(whole)
    outcome = run_here(["task=inspect", f"ckpt={whole}"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert tree(whole) == before
    fresh = run_here(["task=inspect", *WORDS[:-1], "hydra.run.dir=fresh"], tmp_path)
    assert fresh.code == 0, fresh.err
    new = json.loads((tmp_path / "fresh" / "inspect.json").read_text())["gradients"]["loss"]
    assert findings(outcome)["gradients"]["loss"] < 0.8 * new


def test_the_data_is_reported_where_it_is_named_and_always_in_the_file(tmp_path: Path) -> None:
    words = ["task=inspect", "model=mlp"]
    named = run_here([*words, "data=digits", "augment=digits", "hydra.run.dir=a"], tmp_path)
    other = run_here([*words, "hydra.run.dir=b"], tmp_path)
    assert (named.code, other.code) == (0, 0), named.err + other.err
    assert "class  train  valid  test" in named.out
    assert "class  train" not in other.out
    assert "digits, 1,313 train, 124 valid, 360 test samples of 10 classes" in other.out
    ours, theirs = (json.loads((tmp_path / folder / "inspect.json").read_text()) for folder in "ab")
    assert ours["data"] == theirs["data"]
    assert sum(ours["data"]["counts"]["train"].values()) == 1313
    assert ours["gradients"]["loss"] != theirs["gradients"]["loss"], "augmentation is part of the step"
    pictures = [(tmp_path / folder / "batch.png").read_bytes() for folder in "ab"]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1], "and of the picture"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of images, the training's with a file that is none."""
    from PIL import Image

    for part, count in (("train", 12), ("test", 3)):
        for color, name in enumerate(("chat é", "dog")):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (9, 9), (200 * color, 9 * number, 7)).save(folder / f"{number}.png")
    (tmp_path / "pets" / "train" / "dog" / "bad.png").write_text("<html>")
    return tmp_path / "pets"


def test_data_that_a_run_would_refuse_is_reported_before_it_is_refused(pets: Path, tmp_path: Path) -> None:
    """Negative control: without the bad file, the same command looks at the network too."""
    words = ["task=inspect", "model=mlp", "data=folder", "data.root=pets", "data.batch_size=8", "data.val_fraction=0.2"]
    outcome = run_here(words, tmp_path)
    assert outcome.code == 3
    assert "bad.png is not an image" in outcome.err
    found = findings(outcome)
    assert found["ok"] is False
    assert found["data"]["counts"]["test"] == {"chat é": 3, "dog": 3}
    assert "chat é" in outcome.out
    assert "layers" not in found
    (pets / "train" / "dog" / "bad.png").unlink()
    outcome = run_here([*words, "hydra.run.dir=again"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads((tmp_path / "again" / "inspect.json").read_text())["ok"] is True


def test_what_is_frozen_is_shown_counted_and_needs_no_gradient(tmp_path: Path) -> None:
    """The backward pass stops at the head: nothing is computed, and nothing kept, for what is frozen."""
    outcome = run_here(["task=inspect", "model=cnn", "transfer.freeze=backbone"], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    found = findings(outcome)
    assert found["parameters"] == {"total": 225_034, "trainable": 1290, "frozen": 223_744}
    assert found["flops"]["backward"] == 32 * 2 * 128 * 10
    assert found["memory_bytes"]["gradients"] == 4 * 1290
    assert "225,034, 1,290 of them trainable" in outcome.out
    assert "204,928 frozen" in outcome.out


def test_it_is_a_job_of_a_sweep(tmp_path: Path) -> None:
    outcome = run_here(["-m", "task=inspect", "model=mlp,cnn", "hydra.sweep.dir=sweep", *SHORT[1:2]], tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    jobs = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"]
    parameters = {job["overrides"]["model"]: job["metrics"]["model/parameters"] for job in jobs}
    assert parameters == {"mlp": 101_770, "cnn": 225_034}
    assert "225,034" in outcome.out


def test_the_tree_fits_a_narrow_terminal_and_folds_layers_that_are_alike(tmp_path: Path) -> None:
    folder = tmp_path / "with space é"
    folder.mkdir()
    words = ["task=inspect", "model=mlp", f"model.hidden=[{','.join(['16'] * 60)}]"]
    outcome = run_here([*words, "inspect.depth=2"], folder)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    start, end = (next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("layer", "parameters"))
    assert all(len(line.rstrip()) <= 80 for line in lines[start:end])
    assert any("1…59  59 × Sequential" in line and "59 × 272" in line for line in lines)
    assert end - start < 12
    assert len(findings(outcome)["layers"]) == 1 + 1 + 1 + 60 * 4 + 1, "the file has all of them"
