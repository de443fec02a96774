"""`repeat=RUN`: the same run anew, to the same bits; what differs is said, and so is how the metrics do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nnrun
from support.command_line import OWN, Outcome, run_here, write_files
from support.small_runs import STOPS, WORDS, assert_same_bits, summary, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run is, `whole`, and one that began with its weights, `second`."""
    folder = tmp_path_factory.mktemp("repeat")
    assert train(folder / "whole", "optimizer.lr=0.002") == 0
    assert train(folder / "second", "init_from=whole") == 0
    assert run_here(["ckpt=whole", "hydra.run.dir=evaluated"], folder).code == 0
    return folder


def go(folder: Path, *words: str) -> Outcome:
    return run_here(words, folder)


def edit(path: Path, **values: Any) -> None:
    """Change some values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_same_run_gives_the_same_bits_and_says_so(folder: Path) -> None:
    outcome = go(folder, "repeat=whole", "hydra.run.dir=again")
    assert outcome.code == 0, outcome.err
    assert_same_bits(folder / "again", folder / "whole")
    assert "settings, data and environment are the same as in whole\n" in outcome.out
    assert "metrics are bit-identical to those of whole\n" in outcome.out
    nothing = {"settings": [], "environment": [], "data": [], "metrics": {}}
    assert summary(folder / "again")["repeated"] == {"run": "whole", **nothing}
    assert summary(folder / "whole")["repeated"] is None


def test_what_is_typed_beside_it_changes_the_run_and_is_said(folder: Path) -> None:
    outcome = go(folder, "repeat=whole", "seed=1", "model.hidden=[32]", "hydra.run.dir=other")
    assert outcome.code == 0, outcome.err
    for line in ("seed: 0 -> 1", "model.hidden: [128] -> [32]"):
        assert f"note: unlike whole: {line}\n" in outcome.out
    assert "metrics differ from those of whole\n" in outcome.out
    said = summary(folder / "other")["repeated"]
    assert sorted(said["settings"]) == ["model.hidden: [128] -> [32]", "seed: 0 -> 1"]
    loss = said["metrics"]["test/loss"]
    assert (loss["before"], loss["now"]) == tuple(
        summary(folder / run)["metrics"]["test/loss"] for run in ("whole", "other")
    )


def test_a_run_that_began_with_weights_begins_with_the_same_weights(folder: Path) -> None:
    outcome = go(folder, "repeat=second", "hydra.run.dir=second-again")
    assert outcome.code == 0, outcome.err
    assert_same_bits(folder / "second-again", folder / "second")


def test_weights_that_changed_or_that_nobody_knows_are_refused(folder: Path) -> None:
    """Negative control: the test above."""
    path = folder / "second" / "environment.json"
    before = path.read_text()
    start = json.loads(before)["init_from"]
    try:
        edit(path, init_from=start | {"sha256": "0" * 64})
        outcome = go(folder, "repeat=second")
        assert (outcome.code, "which has changed since" in outcome.err) == (4, True)
        edit(path, init_from=None, command=["nnrun", "init_from=whole"])
        outcome = go(folder, "repeat=second")
        assert (outcome.code, "did not record those weights" in outcome.err) == (4, True)
    finally:
        path.write_text(before)


def test_pretrained_weights_that_changed_are_said(folder: Path) -> None:
    """Negative control: with the same file nothing is said of it."""
    path = folder / "weights.pth"
    weights = nnrun.load(folder / "whole").state_dict()
    torch.save(weights, path)
    assert train(folder / "moved", "transfer.weights=weights.pth") == 0
    same = go(folder, "repeat=moved", "trainer.max_steps=1", "hydra.run.dir=moved-again")
    torch.save({name: 2 * value for name, value in weights.items()}, path)
    other = go(folder, "repeat=moved", "trainer.max_steps=1", "hydra.run.dir=moved-other")
    assert (same.code, other.code) == (0, 0)
    line = "note: unlike moved: transfer.weights: "
    assert (line in same.out, line in other.out) == (False, True)


def test_another_environment_other_data_and_a_run_that_did_not_finish_are_said(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (120, 8, 8), dtype=np.uint8), np.arange(120) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    words = [word for word in WORDS if not word.startswith("data.limit")]
    assert go(tmp_path, *words, "data=arrays", "data.root=a.npz", "hydra.run.dir=r").code == 0
    path = tmp_path / "r" / "environment.json"
    versions = json.loads(path.read_text())["versions"]
    edit(path, versions=versions | {"numpy": "1.0"}, git_commit="abc")
    edit(tmp_path / "r" / "summary.json", state="failed")
    np.savez(tmp_path / "a.npz", x=255 - x, y=y)
    outcome = go(tmp_path, "repeat=r", "hydra.run.dir=s")
    assert outcome.code == 0, outcome.err
    changed = "the data has changed (its fingerprint differs)"
    for line in (f"numpy: 1.0 -> {versions['numpy']}", "git_commit: abc -> ", changed):
        assert f"note: unlike r: {line}" in outcome.out
    assert "note: r did not finish: there are no metrics to compare\n" in outcome.out
    np.savez(tmp_path / "a.npz", x=x[:, :6, :6], y=y)
    outcome = go(tmp_path, "repeat=r")
    assert (outcome.code, "it cannot be repeated on this data" in outcome.err) == (3, True)


def test_a_stopped_run_with_a_network_of_one_s_own_is_repeated_once_it_is_trusted(tmp_path: Path) -> None:
    write_files(tmp_path, OWN)
    words = ["model=mynet", *(word for word in WORDS if word != "model=mlp")]
    assert train(tmp_path / "r", "model=mynet", stop=STOPS["mid-epoch"]) == 143
    assert go(tmp_path, *words, "hydra.run.dir=whole").code == 0
    refused = go(tmp_path, "repeat=r")
    assert (refused.code, "trust=[mynet]" in refused.err) == (4, True)
    assert go(tmp_path, "repeat=r", "trust=[mynet]", "hydra.run.dir=s").code == 0
    assert_same_bits(tmp_path / "s", tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["repeat=whole", "ckpt=whole"], 2, "ckpt and repeat exclude each other"),
        (["repeat=whole", "resume=whole"], 2, "resume and repeat exclude each other"),
        (["repeat=whole", "data=mnist"], 2, "data= and repeat= exclude each other"),
        (["repeat=whole", "experiment=quick_digits"], 2, "experiment= and repeat= exclude each other"),
        (["repeat=whole", "task=inspect"], 2, "task=inspect and repeat exclude each other"),
        (["-m", "repeat=whole,second"], 2, "cannot sweep over repeat;"),
        (["repeat=evaluated"], 4, "evaluated has no network, since it trained nothing"),
        (["repeat=none-such"], 4, "none-such does not exist"),
    ],
)
def test_what_cannot_be_repeated(words: list[str], code: int, says: str, folder: Path) -> None:
    outcome = go(folder, *words)
    assert (outcome.code, says in outcome.err) == (code, True), outcome.err
    assert outcome.created == []
